"""COLLECTIONS. One public data set per module: its files, labels, splits and known defects.

`DATASETS` is the whole list; which one a folder holds is detected from its content.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echoseg.data import (
    animated,
    cache_reader,
    camus,
    camus_mhd,
    custom,
    echonet_dynamic,
    echonet_lvh,
    echonet_pediatric,
    phantom_files,
    ted,
)
from echoseg.data.dataset import Dataset
from echoseg.data.records import Issue, IssueKind, Record
from echoseg.errors import DatasetError


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetReader:
    """One data set: its title, how it is detected and read."""

    title: str
    detect: Callable[[Path], bool]
    collect: Callable[[Path], Dataset]


def _reader(title: str, module: Any) -> DatasetReader:
    return DatasetReader(title=title, detect=module.detect, collect=module.collect)


DATASETS: dict[str, DatasetReader] = {
    "camus": _reader("CAMUS, NIfTI release", camus),
    "camus_mhd": _reader("CAMUS, older release", camus_mhd),
    "ted": _reader("TED", ted),
    "echonet_dynamic": _reader("EchoNet-Dynamic", echonet_dynamic),
    "echonet_pediatric": _reader("EchoNet-Pediatric", echonet_pediatric),
    "echonet_lvh": _reader("EchoNet-LVH", echonet_lvh),
    "phantom": _reader("the phantom", phantom_files),
    "cache": _reader("a cache of `echoseg data prepare`", cache_reader),
    "custom": _reader("custom clips", custom),
}


def detect(root: Path) -> str:
    """Find the key of `DATASETS` that a folder, or a table of clips, belongs to.

    Raises:
        DatasetError: If it belongs to none; the text says what is known and what is there.
    """
    if not root.exists() and str(root).startswith("phantom:"):
        raise DatasetError(
            f"{root} is simulated while echoseg train runs, not a folder; to evaluate on "
            "simulated clips give --phantom TIER (phantom), to keep some use echoseg phantom make"
        )
    if not root.exists():
        raise DatasetError(f"{root} does not exist; give the folder of a data set")
    if root.is_dir():
        if name := _released(root):
            return name
        for place in (root.absolute().parent, *sorted(root.iterdir())):
            if place.is_dir() and (name := _released(place)):
                title = DATASETS[name].title
                raise DatasetError(f"{root} is not the folder of a data set, {place} is ({title})")
    if custom.detect(root):
        return "custom"
    titles = ", ".join(reader.title for reader in DATASETS.values())
    raise DatasetError(
        f"{root} is not a known data set ({titles}), {_content(root)}. Custom clips are "
        f"{custom.EXPECTED}"
    )


def _released(root: Path) -> str:
    """The key of the release that a folder holds; empty for none."""
    names = (name for name in DATASETS if name != "custom" and DATASETS[name].detect(root))
    return next(names, "")


def _content(root: Path) -> str:
    if root.is_file():
        return "it is a file"
    names = sorted(path.name for path in root.iterdir())
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"it holds {listed}" if names else "it is empty"


def title_of(dataset: Dataset) -> str:
    """The data set's title, for messages and reports."""
    title = DATASETS[dataset.name].title if dataset.name in DATASETS else dataset.name
    return f"{title}, animated" if str(dataset.root).startswith(animated.PREFIX) else title


def load_dataset(path: str | Path, *, allow_outside: bool = False) -> Dataset:
    """Open a data set's folder; each clip is read when it is asked for.

    Examples:
        >>> data = echoseg.load_dataset("CAMUS/")
        >>> clip, annotation = data.split("test")[0]

    Args:
        path: Folder of one of `DATASETS`, a folder of custom clips, or a CSV that lists them; or
            animated:FOLDER[:SPLIT], see `data.animated`.
        allow_outside: Whether a CSV may name files outside of its folder.

    Raises:
        DatasetError: If it is not a known data set, or nothing in it can be used.
    """
    if not isinstance(path, str | Path):
        raise TypeError(f"load_dataset takes the path of a folder or a CSV, got {type(path)}")
    if not str(path):
        raise DatasetError("a data set must be a folder or a CSV, got ''; give its path")
    if str(path).startswith(animated.PREFIX):
        return animated.open_animated(str(path))
    path = Path(path)
    try:
        if (name := detect(path)) == "custom":
            return custom.collect(path, allow_outside=allow_outside)
        return DATASETS[name].collect(path)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror or error})") from error


__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetReader",
    "Issue",
    "IssueKind",
    "Record",
    "load_dataset",
    "title_of",
]
