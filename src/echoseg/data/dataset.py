"""A data set: a sequence of clips that are read when they are asked for."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echoseg.clip import Annotation, Clip
from echoseg.errors import DatasetError

if TYPE_CHECKING:
    from echoseg.data.torch_dataset import TorchDataset

from echoseg.data.records import SPLIT_WORDS, Issue, IssueKind, Record


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Dataset:
    """A data set's folder: a sequence of clips, each read when it is asked for.

    Examples:
        >>> data = echoseg.load_dataset("CAMUS/")
        >>> len(data), data
        >>> clip, annotation = data[0]  # annotation is None for an unlabeled clip
        >>> for clip, annotation in data.split("test"):
        ...     print(clip, annotation)
        >>> data.records[0].patient  # all that is known without reading the clip

    Attributes:
        name: Key in `DATASETS`.
        root: The folder.
        records: The clips that can be loaded, in the data set's own order.
        issues: Files, rows and clips that cannot be used, each with the reason.
        notes: What the release has and this copy lacks, one line each.
    """

    name: str
    root: Path
    records: tuple[Record, ...]
    issues: tuple[Issue, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[Clip, Annotation | None]:
        """Read a clip and its annotation, which is None for an unlabeled clip.

        Raises:
            EchosegError: If the clip cannot be read.
            TypeError: If the index is not an integer.
        """
        if isinstance(index, slice):
            raise TypeError("a data set is indexed by one integer; take data.records[a:b] for more")
        return self.records[index].load()

    def __iter__(self) -> Iterator[tuple[Clip, Annotation | None]]:
        return (record.load() for record in self.records)

    def __repr__(self) -> str:
        splits = ", ".join(
            f"{number} {name or 'no split'}" for name, number in self.splits().items()
        )
        return f"Dataset({self.name!r}, {str(self.root)!r}, {len(self)} clips: {splits})"

    def splits(self) -> dict[str, int]:
        """Number of clips in each split."""
        return dict(sorted(Counter(record.split for record in self.records).items()))

    def split(self, name: str) -> "Dataset":
        """Select the clips of one split: "train", "validation" or "test"; "all" are all clips.

        Raises:
            DatasetError: If the data set has no clip of it.
            TypeError: If the name is not a string.
        """
        if not isinstance(name, str):
            raise TypeError(f"split takes a name, one of {list(self.splits())}, got {name!r}")
        split = SPLIT_WORDS.get(name.lower(), name.lower())
        records = tuple(record for record in self.records if record.split == split)
        if not records and split == "all":
            return self
        if not records:
            splits = ", ".join(
                f"{name or 'clips without a split'} ({number})"
                for name, number in self.splits().items()
            )
            raise DatasetError(
                f"{self.root} has no split {name!r}; it has {splits}. The split all takes every "
                "clip"
            )
        return replace(self, records=records)

    def to_torch(
        self,
        size: int = 160,
        num_frames: int | None = 8,
        transform: "Callable[[dict[str, Any]], Any] | None" = None,
    ) -> "TorchDataset":
        """Make a map-style `torch.utils.data.Dataset` of dicts of tensors; see `TorchDataset`.

        Examples:
            >>> from torch.utils.data import DataLoader
            >>> loader = DataLoader(data.split("train").to_torch(size=112), batch_size=4)
            >>> batch = next(iter(loader))  # frames B T 1 S S, masks B T S S

        Args:
            size: Side of the square into which frames are letterboxed, in pixels.
            num_frames: Frames per clip, spread evenly; None gives all of them.
            transform: Applied to each item.

        Raises:
            ConfigError: If size or num_frames is out of range.
        """
        from echoseg.data.torch_dataset import TorchDataset

        items = TorchDataset(self.records, size=size, num_frames=num_frames, transform=transform)
        items.dataset = self
        return items


def build_dataset(
    name: str,
    root: Path,
    records: Iterable[Record],
    issues: Iterable[Issue] = (),
    notes: Iterable[str] = (),
) -> Dataset:
    """Make a data set in which names are unique and no patient is in two splits.

    Records that break this are left out and become issues.

    Raises:
        DatasetError: If no record is left.
    """
    records, issues = tuple(records), list(issues)
    splits: dict[str, set[str]] = {}
    names = Counter(record.name for record in records)
    for record in records:
        splits.setdefault(record.patient, set()).add(record.split)
    leaking = {patient for patient, where in splits.items() if len(where) > 1}
    for double in sorted(name for name, number in names.items() if number > 1):
        reason = f"{names[double]} clips have this name"
        issues.append(Issue(place=double, kind=IssueKind.INCONSISTENT, reason=reason))
    for patient in sorted(leaking):
        where = ", ".join(sorted(split or "no split" for split in splits[patient]))
        reason = f"the patient is in more than one split ({where}); its clips are excluded"
        issues.append(Issue(place=patient, kind=IssueKind.INCONSISTENT, reason=reason))
    usable = tuple(r for r in records if names[r.name] == 1 and r.patient not in leaking)
    if not usable:
        first = f", the first {issues[0].place}: {issues[0].reason}" if issues else ""
        raise DatasetError(f"{root}: no clip can be used; {len(issues)} have an issue{first}")
    return Dataset(name=name, root=root, records=usable, issues=tuple(issues), notes=tuple(notes))
