"""The folder of a run: settings, log, checkpoints.

    run.json                    the config
    log.jsonl                   one line per report; tensorboard/ holds the same as curves
    samples.png                 predictions and the experts' borders
    resume-000500.safetensors   state to resume from; the last few are kept
    best.safetensors            weights with the best validation score
    model.safetensors           weights at the end

Every file is written atomically.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from echoseg.errors import ConfigError, OutputError, Unfit
from echoseg.files import (
    ANOTHER_FOLDER,
    ResumableFolder,
    atomic_write,
    check_writable,
    remove_empty,
)
from echoseg.train.config import TrainConfig, train_config
from echoseg.train.state_file import read_state, write_state
from echoseg.untrusted import read_json

CONFIG, LOG, SAMPLES = "run.json", "log.jsonl", "samples.png"
RESUME_FILES = "resume-*.safetensors"
_STATE = re.compile(r"resume-[0-9]{6,}\.safetensors")


@contextmanager
def discarded_when_it_fails(folder: Path) -> Iterator[None]:
    """Remove a folder that was new or empty, when a run in it fails and left no weights."""
    is_new = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    try:
        yield
    except BaseException:
        if is_new and not any(folder.glob("*.safetensors")):
            remove_logs(folder)
            remove_empty([folder])
        raise


def remove_logs(folder: Path) -> None:
    """Remove settings, log, samples and curves of a run, and nothing else."""
    for name in (CONFIG, LOG, SAMPLES):
        (folder / name).unlink(missing_ok=True)
    remove_curves(folder)


def remove_curves(folder: Path) -> None:
    """Remove the curves of a run: files with TensorBoard's names, and their folders if empty."""
    curves = folder / "tensorboard"
    for path in curves.rglob("events.out.tfevents.*"):
        path.unlink()
    remove_empty([*sorted(curves.rglob("*"), reverse=True), curves])


def resume_states(folder: Path) -> list[Path]:
    """The states to resume from, in order; a copy under another name is the user's."""
    return sorted(path for path in folder.glob(RESUME_FILES) if _STATE.fullmatch(path.name))


class RunFolder:
    """Settings, log and checkpoints of one run.

    Args:
        path: The folder; made when a run begins.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, config: TrainConfig, needed_bytes: int) -> None:
        """Write the config of a new run.

        Raises:
            ConfigError: If the folder holds a run already.
            OutputError: If it holds other files, cannot be written, or has too little free space.
        """
        check_writable(self.path, ANOTHER_FOLDER)
        self.path.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.path).free
        if free < needed_bytes:
            raise OutputError(
                f"{self.path} must have {needed_bytes / 1e6:.0f} MB free for checkpoints, it has "
                f"{free / 1e6:.0f} MB; free some space or {ANOTHER_FOLDER}"
            )
        self._settings().begin(config, resume=False)

    def check(self, config: TrainConfig) -> None:
        """Check that the folder holds a run of these settings.

        Raises:
            ConfigError: If it holds none, or one of others.
        """
        self.config()
        self._settings().check(config)

    def _settings(self) -> ResumableFolder[TrainConfig]:
        return ResumableFolder(self.path, CONFIG, TrainConfig, "a run")

    def config(self, *, has_objects: bool = True) -> TrainConfig:
        """Read the config of the run.

        Args:
            has_objects: Whether the objects that it was begun with are given, if there are any.

        Raises:
            ConfigError: If there is none, or its objects are not given.
        """
        try:
            config = train_config(**self._fields())
        except (ValueError, TypeError) as error:
            raise self._unreadable(error) from error
        if config.objects and not has_objects:
            raise ConfigError(
                f"{self.path} was begun with Python objects ({', '.join(config.objects)}), which "
                f"only Python can give again; call echoseg.train with them, "
                f"output={str(self.path)!r} and resume=True"
            )
        return config

    def _fields(self) -> dict[str, Any]:
        try:
            fields = read_json(self.path / CONFIG)
            if not isinstance(fields, dict):
                raise Unfit("it is not an object")
            return fields
        except (OSError, ValueError, TypeError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> ConfigError:
        reason = getattr(error, "strerror", None) or error
        rule = f"must hold a run ({CONFIG}) to be resumed: {reason}"
        return ConfigError(f"{self.path} {rule}; give the folder of a run, or begin a new one")

    def is_finished(self) -> bool:
        """Whether all steps were taken and the weights written."""
        last = self.path / RESUME_FILES.replace("*", f"{self.config().num_steps:06d}")
        return last.exists() and (self.path / "model.safetensors").exists()

    def lacking_fields(self) -> list[str]:
        """Settings that the config of the run does not hold: it was begun by another version.

        Raises:
            ConfigError: If there is no config.
        """
        return sorted(set(TrainConfig.model_fields) - set(self._fields()))

    def report(self, line: dict[str, Any]) -> None:
        """Add a line to the log."""
        with self._writing(), (self.path / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def save(self, state: dict[str, Any], step: int, keep_last: int) -> None:
        """Write what resuming needs, and remove all but the last few."""
        with (
            self._writing(),
            atomic_write(self.path / RESUME_FILES.replace("*", f"{step:06d}")) as partial,
        ):
            write_state(partial, state)
        for old in resume_states(self.path)[:-keep_last]:
            old.unlink(missing_ok=True)

    def load(self) -> dict[str, Any]:
        """Read the last readable state.

        Raises:
            ConfigError: If there is none.
        """
        for path in reversed(resume_states(self.path)):
            try:
                return read_state(path)
            except (OSError, ValueError):
                continue  # cut off while the disk was full: the one before it is whole
        raise ConfigError(
            f"{self.path} must hold a {RESUME_FILES} that can be read, it holds none; start again "
            "in another folder"
        )

    def write_model(self, name: str, write: Callable[[Path], Any]) -> None:
        """Write a weights file by a function that writes atomically."""
        with self._writing():
            write(self.path / name)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, OutputError, RuntimeError) as error:  # torch's of a full disk: the last
            raise OutputError(
                f"{self.path} could not be written to ({error}); what was saved before is whole: "
                f"make space and continue with --resume {self.path}"
            ) from error
