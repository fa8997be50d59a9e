"""The folder of a robustness evaluation: its cells are kept, so it continues where it stopped.

OUT/experiment.json                  which clips and conditions
OUT/cells/HASH/robust-N/clips.csv    one network, by the hash of its checkpoint, on the N-th set
OUT/clips.csv, table.csv, table.md, summary.json    of what the last command named
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from echoseg.evaluation.tables import table_text
from echoseg.files import ResumableFolder, write_text
from echoseg.weights.card import find_checkpoint, read_card
from experiments.grid import SETTINGS
from experiments.robustness import ClipScore
from experiments.robustness_tables import CLIPS, clips_error, read_clips


class Robustness(BaseModel):
    """What is evaluated in a folder; content of `experiment.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: tuple[str, ...]
    """Evaluation sets; more may be added."""
    conditions: tuple[str, ...]
    num_hearts: int | None = None
    num_clips: int | None = None


class Cells:
    """The cells of an open folder: one per network and set.

    Args:
        out: The folder.
        sets: Its evaluation sets, whose places number the files.
    """

    def __init__(self, out: Path, sets: tuple[str, ...]) -> None:
        self.out, self.sets = out, sets

    def read(self, name: str, checkpoint: str) -> list[ClipScore] | None:
        """The scores of a network on a set; None unless they are complete.

        Raises:
            ModelError: If the checkpoint cannot be read.
        """
        path = self._path(name, checkpoint)
        return None if clips_error(path) else read_clips(path)

    def write(self, name: str, checkpoint: str, scores: list[ClipScore]) -> list[ClipScore]:
        """Keep the scores of a network on a set; return them as the file holds them, rounded.

        Raises:
            OutputError: If they cannot be written.
        """
        path = self._path(name, checkpoint)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, table_text(scores, ClipScore))
        return read_clips(path)

    def _path(self, name: str, checkpoint: str) -> Path:
        network = read_card(find_checkpoint(checkpoint)).sha256[:16]
        return self.out / "cells" / network / f"robust-{self.sets.index(name)}" / CLIPS


@contextmanager
def open_cells(out: Path, settings: Robustness) -> Iterator[Cells]:
    """Hold the folder of an evaluation; what failed before its first cell leaves no trace.

    Raises:
        ConfigError: If the folder was begun with other clips or conditions.
        OutputError: If it holds anything else, is in use, or cannot be written.
    """
    folder = ResumableFolder(out, SETTINGS, Robustness, "a robustness evaluation")
    with folder.locked():
        held = folder.read()
        sets = tuple(dict.fromkeys((*(held.data if held else ()), *settings.data)))
        folder.begin(settings.model_copy(update={"data": sets}), varying=("data",))
        yield Cells(out, sets)
