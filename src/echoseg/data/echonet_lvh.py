"""EchoNet-LVH: 12,000 parasternal long-axis clips with callipers, without masks (unlabeled).

Layout: `MeasurementsList.csv` (one row per calliper: HashedFileName, split, ...) and `Batch1/` to
`Batch4/` with the videos, `HashedFileName.avi`. A clip has several rows. Pixel spacing is unknown.

Reference:
    Duffy et al., JAMA Cardiology 7(4):386-395, 2022.
"""

from functools import partial
from pathlib import Path

from echoseg.clip import Clip, View
from echoseg.data.dataset import Dataset, build_dataset
from echoseg.data.records import SPLIT_WORDS, Issue, IssueKind, Record
from echoseg.data.table import read_table
from echoseg.io import load_clip

COLUMNS = ("HashedFileName", "split")


def detect(root: Path) -> bool:
    """Detect the release by its list."""
    return (root / "MeasurementsList.csv").is_file()


def collect(root: Path) -> Dataset:
    """List every listed clip that has its video.

    Raises:
        DatasetError: If the list is not as documented, or nothing can be used.
    """
    rows, issues = read_table(root / "MeasurementsList.csv", COLUMNS)
    videos: dict[str, Path] = {}
    for path in sorted(root.glob("Batch*/*.avi")):
        if path.stem in videos:
            reason = f"another clip has this name, {videos[path.stem]}; that one is used"
            issues.append(Issue(place=str(path), kind=IssueKind.INCONSISTENT, reason=reason))
        videos.setdefault(path.stem, path)
    splits: dict[str, set[str]] = {}
    for row in rows:
        name, word = row.text("HashedFileName").removesuffix(".avi"), row.text("split").lower()
        if word not in SPLIT_WORDS:
            reason = f"split must be train, val or test, got {row.text('split')!r}"
            issues.append(Issue(place=row.place, kind=IssueKind.INCONSISTENT, reason=reason))
            continue
        splits.setdefault(name, set()).add(SPLIT_WORDS[word])
    issues += _unmatched(videos, splits)
    records = [
        _record(name, videos[name], split)
        for name, names in splits.items()
        if name in videos
        for split in sorted(names)  # two splits become an issue in build_dataset
    ]
    return build_dataset("echonet_lvh", root, records, issues)


def _unmatched(videos: dict[str, Path], splits: dict[str, set[str]]) -> list[Issue]:
    issues = []
    for name in splits.keys() - videos.keys():
        reason = f"it is listed, its video Batch*/{name}.avi is missing"
        issues.append(Issue(place=name, kind=IssueKind.MISSING, reason=reason))
    for name in videos.keys() - splits.keys():
        reason = "it has a video, but no row in MeasurementsList.csv"
        issues.append(Issue(place=str(videos[name]), kind=IssueKind.INCONSISTENT, reason=reason))
    return sorted(issues, key=lambda issue: issue.place)


def _record(name: str, video: Path, split: str) -> Record:
    return Record(
        name=name,
        patient=name,
        view=View.PLAX,
        split=split,
        files=(video,),
        labelled=False,
        read=partial(read_clip, video),
    )


def read_clip(video: Path) -> tuple[Clip, None]:
    """Read a clip, which has no annotation.

    Raises:
        FormatError: If the video cannot be read.
    """
    return load_clip(video, view=View.PLAX), None
