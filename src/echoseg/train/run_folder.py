"""The folder of a run: what it was, how it goes, and where to go on.

    run.json              the config
    log.jsonl             one line a report; tensorboard/ holds the same as curves
    samples.png           what the network finds, with the experts' borders beside it
    resume-000500.pt      all that resuming needs; the last few are kept
    best.safetensors      weights with the best validation score
    model.safetensors     weights at the end

Every file is written beside and renamed: a cut leaves the last whole one.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from echoseg.errors import ConfigError, OutputError
from echoseg.files import LOCK
from echoseg.train.config import RunConfig, run_config


class RunFolder:
    """See the module.

    Args:
        path: The folder; made when a run begins.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, config: RunConfig, needed_bytes: int) -> None:
        """Make the folder and write the config of a new run.

        Raises:
            OutputError: If it cannot be made, another run is there, or too little space is free.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"output must be a folder that can be made, {self.path} cannot: {error.strerror}"
            ) from error
        if (self.path / "run.json").exists():
            raise OutputError(
                f"{self.path} holds a run already; go on with it by --resume, or give another "
                "folder"
            )
        if foreign := sorted(path.name for path in self.path.iterdir() if path.name != LOCK):
            raise OutputError(
                f"{self.path} must be a new or an empty folder, it holds {foreign[0]}; give another"
            )
        free = shutil.disk_usage(self.path).free
        if free < needed_bytes:
            raise OutputError(
                f"{self.path} must have {needed_bytes / 1e6:.0f} MB free for checkpoints, it has "
                f"{free / 1e6:.0f} MB; free some or give another folder"
            )
        self._write("run.json", lambda path: path.write_text(config.model_dump_json(indent=1)))

    def config(self) -> RunConfig:
        """Return the config of the run that is there.

        Raises:
            ConfigError: If none is.
        """
        try:
            return run_config(**json.loads((self.path / "run.json").read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(
                f"{self.path} must hold a run (run.json) to be resumed: {error}"
            ) from error

    def report(self, line: dict[str, Any]) -> None:
        """Add a line to the log."""
        try:
            with (self.path / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
        except OSError as error:
            raise self._full(error) from error

    def save(self, state: dict[str, Any], step: int, keep_last: int) -> None:
        """Write what resuming needs, and remove all but the last few."""
        self._write(f"resume-{step:06d}.pt", lambda path: torch.save(state, path))
        for old in self._resumable()[:-keep_last]:
            old.unlink(missing_ok=True)

    def load(self) -> dict[str, Any]:
        """Return the last state that can be read.

        Raises:
            ConfigError: If there is none.
        """
        for path in reversed(self._resumable()):
            try:
                return torch.load(path, weights_only=True)
            except (OSError, RuntimeError, EOFError, ValueError, UnpicklingError):
                continue  # cut off while the disk was full: the one before it is whole
        raise ConfigError(
            f"{self.path} must hold a resume-*.pt that can be read, it holds none; start anew in "
            "another folder"
        )

    def write_model(self, name: str, write: Callable[[Path], Any]) -> None:
        """Write a weights file by a function that writes beside and renames by itself."""
        try:
            write(self.path / name)
        except OSError as error:
            raise self._full(error) from error

    def _resumable(self) -> list[Path]:
        return sorted(self.path.glob("resume-*.pt"))

    def _write(self, name: str, write: Callable[[Path], Any]) -> None:
        partial = self.path / f".{name}.partial-{os.getpid()}"
        try:
            write(partial)
            partial.replace(self.path / name)
        except (OSError, RuntimeError) as error:  # torch tells of a full disk as RuntimeError
            raise self._full(error) from error
        finally:
            partial.unlink(missing_ok=True)

    def _full(self, error: Exception) -> OutputError:
        return OutputError(
            f"{self.path} could not be written to ({error}); what was saved before is whole: make "
            f"space and go on with --resume {self.path}"
        )
