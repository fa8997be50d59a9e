"""What a data set's folder holds: records, loaded one by one, and what is wrong with the rest.

Every reader gives the same: a `Dataset` of `Record`s, each of which loads a `Clip` and its
`Annotation`. Nothing is dropped in silence: what cannot be used is a `Issue` with its reason.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
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
"""The data sets' own words for a split, in lower case, and ours."""


class IssueKind(StrEnum):
    """What is wrong with a file, a row or a clip."""

    MISSING = "missing"
    BROKEN = "broken"
    INCONSISTENT = "inconsistent"
    KNOWN = "known"
    """A quirk that the release as published has; no fault of this copy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Issue:
    """Something that cannot be used: where it is, of which kind, and why, in one line."""

    place: str
    kind: IssueKind
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """One clip of a data set; its frames are read by `load`.

    Attributes:
        name: Name that no other record of the collection has.
        patient: Whose heart it is; a data set that names no patients has one a clip.
        view: The view, `unknown` when nobody says it.
        files: What is read, the picture first.
        read: Reads it; gives no annotation where there is none.
        split: `train`, `validation`, `test`, a fold such as `fold3`; empty when there is none.
        quality: As in `Annotation.quality`.
        stills: Whether the frames are single pictures, not filmed one after another.
        labelled: Whether there is an annotation.
        labels: Which labels the annotation speaks of; None when only its masks can tell.
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

    def load(self) -> tuple[Clip, Annotation | None]:
        """Read frames and annotation.

        Raises:
            EchosegError: If a file is missing or broken, or masks and pictures do not fit.
        """
        try:
            clip, known = self.read()
            if known is not None:
                known.check_fits(clip)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{self.name}: {error}") from error
        return clip, known


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """A data set's folder, read without opening a clip.

    Attributes:
        dataset: Key in `datasets.DATASETS`.
        root: The folder.
        records: What can be loaded, in the data set's own order.
        problems: What cannot, each with its reason.
        notes: What the release has and this copy has not, one line each.
    """

    dataset: str
    root: Path
    records: tuple[Record, ...]
    problems: tuple[Issue, ...] = ()
    notes: tuple[str, ...] = ()

    def splits(self) -> dict[str, int]:
        """Return the number of records in each split."""
        return dict(sorted(Counter(record.split for record in self.records).items()))

    def of_split(self, split: str) -> tuple[Record, ...]:
        """Return the records of a split, named in our words or the data set's.

        Raises:
            DatasetError: If the collection has no record of it.
        """
        wanted = SPLIT_WORDS.get(split.lower(), split.lower())
        found = tuple(record for record in self.records if record.split == wanted)
        if not found:
            there = ", ".join(
                f"{name or 'no split'} ({number})" for name, number in self.splits().items()
            )
            raise DatasetError(
                f"split must be one that {self.root} holds, got {split!r}; it holds {there}"
            )
        return found


def build_dataset(
    dataset: str,
    root: Path,
    records: Iterable[Record],
    problems: Sequence[Issue] = (),
    notes: Sequence[str] = (),
) -> Dataset:
    """Return a collection in which no name comes twice and no patient is in two splits.

    Records that break this are left out and told of as problems.

    Raises:
        DatasetError: If nothing is left.
    """
    records = tuple(records)
    found = list(problems)
    splits: dict[str, set[str]] = {}
    names = Counter(record.name for record in records)
    for record in records:
        splits.setdefault(record.patient, set()).add(record.split)
    leaking = {patient for patient, where in splits.items() if len(where) > 1}
    for name in sorted(name for name, number in names.items() if number > 1):
        found.append(
            Issue(
                place=name,
                kind=IssueKind.INCONSISTENT,
                reason=f"{names[name]} clips have this name",
            )
        )
    for patient in sorted(leaking):
        where = ", ".join(sorted(split or "no split" for split in splits[patient]))
        reason = f"the patient is in more than one split ({where}); none of the clips is used"
        found.append(Issue(place=patient, kind=IssueKind.INCONSISTENT, reason=reason))
    kept = tuple(r for r in records if names[r.name] == 1 and r.patient not in leaking)
    if not kept:
        first = f", the first {found[0].place}: {found[0].reason}" if found else ""
        raise DatasetError(
            f"{root}: nothing in it can be used, {len(found)} files or clips have a problem{first}"
        )
    return Dataset(
        dataset=dataset, root=root, records=kept, problems=tuple(found), notes=tuple(notes)
    )
