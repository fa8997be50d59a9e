"""A data set: records that load a `Clip` and its `Annotation`, and issues of all the rest.

Nothing is dropped silently: what cannot be used is an `Issue` with its reason.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from echoseg.clip import Annotation, Clip, Label, View
from echoseg.errors import DatasetError

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""The data sets' own names of splits, in lower case -> ours."""


class IssueKind(StrEnum):
    """What is wrong with a file, a row or a clip."""

    MISSING = "missing"
    BROKEN = "broken"
    INCONSISTENT = "inconsistent"
    KNOWN = "known"
    """A known defect of the published release, not of this copy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Issue:
    """A file, row or clip that cannot be used: where, of which kind, and why, in one line."""

    place: str
    kind: IssueKind
    reason: str


def missing_files(files: Iterable[Path], reason: str) -> list[Issue]:
    """Issues of those of a clip's files that do not exist."""
    return [
        Issue(place=str(path), kind=IssueKind.MISSING, reason=f"the file is missing; {reason}")
        for path in files
        if not path.is_file()
    ]


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """One clip of a data set; `load` reads its frames.

    Attributes:
        name: Unique name in the data set.
        patient: The patient; a data set that names no patients has one per clip.
        view: The view.
        files: The files that are read, the image first.
        read: Reads them; the annotation is None where there is none.
        split: `train`, `validation`, `test`, a fold such as `fold3`; empty when there is none.
        quality: As in `Annotation.quality`.
        stills: Whether the frames are single images, not a sequence in time.
        labelled: Whether there is an annotation.
        labels: Labels that the annotation covers; None when only its masks can tell.
    """

    name: str
    patient: str
    view: View
    files: tuple[Path, ...]
    read: Callable[[], tuple[Clip, Annotation | None]]
    split: str = ""
    quality: str = ""
    stills: bool = False
    labelled: bool = True
    labels: tuple[Label, ...] | None = tuple(Label)

    def __repr__(self) -> str:
        return f"Record({self.name!r}, {self.view}, {self.split or 'no split'})"

    def load(self) -> tuple[Clip, Annotation | None]:
        """Read frames and annotation.

        Raises:
            EchosegError: If a file is missing or broken, or masks and frames do not fit.
        """
        try:
            clip, annotation = self.read()
            if annotation is not None:
                annotation.check_fits(clip)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{self.name}: {error}") from error
        return clip, annotation
