"""COLLECTIONS. One public data set a module: where its files lie, labels, split, quirks.

`DATASETS` is the whole list; which one a folder holds is found from what is in it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from echoseg.data import (
    cache_reader as cached,
)
from echoseg.data import (
    camus,
    camus_mhd,
    echonet_dynamic,
    echonet_lvh,
    echonet_pediatric,
    ted,
)
from echoseg.data import (
    custom as own_clips,
)
from echoseg.data import (
    phantom_files as phantom_clips,
)
from echoseg.data.records import Dataset, Issue, IssueKind, Record
from echoseg.errors import DatasetError


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetReader:
    """One data set: its name for people, what its folder holds, how it is told and read."""

    title: str
    expected: str
    detect: Callable[[Path], bool]
    collect: Callable[[Path], Dataset]


DATASETS: dict[str, DatasetReader] = {
    "camus": DatasetReader(
        title="CAMUS, NIfTI release",
        expected=camus.EXPECTED,
        detect=camus.detect,
        collect=camus.collect,
    ),
    "camus_mhd": DatasetReader(
        title="CAMUS, older release",
        expected=camus_mhd.EXPECTED,
        detect=camus_mhd.detect,
        collect=camus_mhd.collect,
    ),
    "ted": DatasetReader(
        title="TED", expected=ted.EXPECTED, detect=ted.detect, collect=ted.collect
    ),
    "echonet_dynamic": DatasetReader(
        title="EchoNet-Dynamic",
        expected=echonet_dynamic.EXPECTED,
        detect=echonet_dynamic.detect,
        collect=echonet_dynamic.collect,
    ),
    "echonet_pediatric": DatasetReader(
        title="EchoNet-Pediatric",
        expected=echonet_pediatric.EXPECTED,
        detect=echonet_pediatric.detect,
        collect=echonet_pediatric.collect,
    ),
    "echonet_lvh": DatasetReader(
        title="EchoNet-LVH",
        expected=echonet_lvh.EXPECTED,
        detect=echonet_lvh.detect,
        collect=echonet_lvh.collect,
    ),
    "phantom": DatasetReader(
        title="the phantom",
        expected=phantom_clips.EXPECTED,
        detect=phantom_clips.detect,
        collect=phantom_clips.collect,
    ),
    "cache": DatasetReader(
        title="a cache of `echoseg data prepare`",
        expected=cached.EXPECTED,
        detect=cached.detect,
        collect=cached.collect,
    ),
    "own_clips": DatasetReader(
        title="clips of one's own",
        expected=own_clips.EXPECTED,
        detect=own_clips.detect,
        collect=own_clips.collect,
    ),
}


def detect(root: Path) -> str:
    """Return the key of `DATASETS` that a folder, or a table of clips, belongs to.

    Raises:
        DatasetError: If it is none; the text says what was expected and what was found.
    """
    if not root.exists():
        raise DatasetError(f"{root}: there is no such folder; give the folder of a data set")
    if root.is_dir():
        if found := _released(root):
            return found
        for place in (root.absolute().parent, *sorted(root.iterdir())):
            if place.is_dir() and (found := _released(place)):
                title = DATASETS[found].title
                raise DatasetError(f"{root} is not the folder of a data set, {place} is ({title})")
    if own_clips.detect(root):
        return "own_clips"
    expected = "; ".join(f"{known.title}: {known.expected}" for known in DATASETS.values())
    raise DatasetError(f"{root} is no data set known, {_found(root)}; expected is {expected}")


def _released(root: Path) -> str:
    """Return the key of the release that a folder holds; empty for none."""
    named = (name for name in DATASETS if name != "own_clips" and DATASETS[name].detect(root))
    return next(named, "")


def _found(root: Path) -> str:
    """Return what is there instead, for a message."""
    if root.is_file():
        return "it is a file"
    names = sorted(path.name for path in root.iterdir())
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"it holds {listed}" if names else "it is empty"


def open_dataset(root: str | Path) -> Dataset:
    """Read a data set's folder without opening a clip.

    Args:
        root: Folder of one of `DATASETS`, or a CSV of one's own clips.

    Raises:
        DatasetError: If the folder is none of them, or nothing in it can be used.
    """
    root = Path(root)
    try:
        return DATASETS[detect(root)].collect(root)
    except OSError as error:
        raise DatasetError(f"{root} cannot be read ({error.strerror or error})") from error


__all__ = ["DATASETS", "Dataset", "DatasetReader", "Issue", "IssueKind", "Record", "open_dataset"]
