"""The clips of a data set as tensors of one size, for `echoseg.train` and for other loops.

A clip is read and shrunk when it is asked for, so memory does not grow with the number of clips;
the clips used last stay in a cache of bounded size.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as MapDataset

from echoseg.clip import Annotation, Clip, Label
from echoseg.data.records import Record
from echoseg.errors import ConfigError
from echoseg.losses import IGNORE_LABEL
from echoseg.preprocess.letterbox import letterbox_for
from echoseg.preprocess.letterbox_torch import letterbox_frames, letterbox_masks

CACHE_BYTES = 2**31
MIN_SIZE_PX = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class SquareClip:
    """A whole clip on a square grid.

    Attributes:
        frames: Gray levels, `T S S` uint8.
        masks: Label maps of the labeled frames, `L S S` uint8.
        labeled_frames: Their indices, increasing.
        known_labels: Labels that the masks distinguish, background among them.
        times_s: Time of each frame, `T`; nan when unknown.
        spacing_mm: (row, column) millimetres per pixel of the square; nan when unknown.
        ed_frame: Index of the end-diastolic frame; None when unknown.
        es_frame: Index of the end-systolic frame; None when unknown.
        ef_percent: Ejection fraction; nan when unknown.
    """

    frames: Tensor
    masks: Tensor
    labeled_frames: tuple[int, ...]
    known_labels: frozenset[int]
    times_s: Tensor
    spacing_mm: Tensor
    ed_frame: int | None = None
    es_frame: int | None = None
    ef_percent: float = float("nan")

    @property
    def num_bytes(self) -> int:
        """Memory of frames and masks."""
        return self.frames.nbytes + self.masks.nbytes

    def masks_at(self, frames: Sequence[int]) -> Tensor:
        """Label maps `t S S` of some frames; `IGNORE_LABEL` where a frame has none."""
        place = {frame: index for index, frame in enumerate(self.labeled_frames)}
        blank = torch.full_like(self.frames[0], IGNORE_LABEL)
        return torch.stack([self.masks[place[t]] if t in place else blank for t in frames])


class ClipCache:
    """The clips used last, up to a number of bytes."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self.max_bytes, self.num_bytes = max_bytes, 0
        self._clips: OrderedDict[Any, SquareClip] = OrderedDict()

    def get(self, key: Any, read: Callable[[], SquareClip]) -> SquareClip:
        """The clip of a key, read when it is not in the cache."""
        if key in self._clips:
            self._clips.move_to_end(key)
            return self._clips[key]
        clip = read()
        self._clips[key] = clip
        self.num_bytes += clip.num_bytes
        while self.num_bytes > self.max_bytes and self._clips:
            self.num_bytes -= self._clips.popitem(last=False)[1].num_bytes
        return clip


class TorchDataset(MapDataset[dict[str, Any]]):
    """Map-style data set; item i is a dict of the i-th clip.

    | key | value |
    |---|---|
    | `frames` | `T 1 S S` float in [0, 1] |
    | `masks` | `T S S` int64, `losses.IGNORE_LABEL` on frames without a mask |
    | `name`, `patient`, `view` | str |
    | `times_s` | `T`; nan when unknown |
    | `spacing_mm` | (row, column) of the square's pixels; nan when unknown |

    Frames are spread evenly from ED to ES where both are known, else over the labeled frames, else
    over the clip.

    Args:
        records: The clips.
        size: S, pixels; a clip is letterboxed into the square.
        num_frames: T; None gives every frame.
        transform: Applied to each item.
        cache: Keeps decoded clips; by default 2 GiB of them.

    Raises:
        ConfigError: If size or num_frames is out of range.
    """

    dataset: Any = None
    """The data set that it was made of by `Dataset.to_torch`."""

    def __init__(
        self,
        records: Sequence[Record],
        *,
        size: int = 160,
        num_frames: int | None = 8,
        transform: Callable[[dict[str, Any]], Any] | None = None,
        cache: ClipCache | None = None,
    ) -> None:
        if not isinstance(size, int | np.integer) or size < MIN_SIZE_PX:
            raise ConfigError(f"size must be at least {MIN_SIZE_PX} whole pixels, got {size}")
        if num_frames is not None and num_frames < 1:
            raise ConfigError(f"num_frames must be at least 1, got {num_frames}")
        self.records, self.size, self.num_frames = tuple(records), size, num_frames
        self.transform = transform
        self.cache = ClipCache() if cache is None else cache

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read a clip.

        Raises:
            EchosegError: If it cannot be read.
        """
        record, clip = self.records[index], self.clip(index)
        times = _spread(clip, self.num_frames)
        item = {
            "frames": clip.frames[times].float()[:, None] / 255,  # (T, 1, S, S)
            "masks": clip.masks_at(times).long(),
            "name": record.name,
            "patient": record.patient,
            "view": str(record.view),
            "times_s": clip.times_s[times],
            "spacing_mm": clip.spacing_mm,
        }
        return item if self.transform is None else self.transform(item)

    def clip(self, index: int) -> SquareClip:
        """The whole clip, from the cache where it is there."""
        record = self.records[index]
        key = id(self), index % len(self.records)
        return self.cache.get(key, lambda: _square(record, *record.load(), self.size))


def _spread(clip: SquareClip, num_frames: int | None) -> list[int]:
    length = len(clip.frames)
    if num_frames is None:
        return list(range(length))
    if clip.ed_frame is not None and clip.es_frame is not None:
        return np.linspace(clip.ed_frame, clip.es_frame, num_frames).round().astype(int).tolist()
    among = clip.labeled_frames or range(length)
    places = np.linspace(0, len(among) - 1, num_frames).round().astype(int)
    return [among[place] for place in places]


def _square(record: Record, clip: Clip, annotation: Annotation | None, size: int) -> SquareClip:
    letterbox = letterbox_for((0, 0, *clip.size), size)
    frames = letterbox_frames(torch.tensor(clip.frames).float(), letterbox)
    labeled = () if annotation is None else tuple(int(t) for t in annotation.labelled_frames)
    masks = torch.zeros(0, size, size, dtype=torch.uint8)
    if annotation is not None and labeled:
        masks = letterbox_masks(torch.from_numpy(annotation.masks[list(labeled)]), letterbox)
    labels = masks.unique().tolist() if record.labels is None else record.labels
    nan = torch.nan
    spacing_mm = torch.tensor(clip.spacing_mm or (nan, nan), dtype=torch.float64)
    has_times = clip.times_s is not None and not record.stills
    ef = None if annotation is None else annotation.ef_percent
    return SquareClip(
        frames=frames.round().to(torch.uint8),
        masks=masks,
        labeled_frames=labeled,
        known_labels=frozenset({int(Label.BACKGROUND), *map(int, labels)}),
        times_s=torch.as_tensor(clip.times_s) if has_times else torch.full((len(frames),), nan),
        spacing_mm=spacing_mm / letterbox.scale,
        ed_frame=None if annotation is None else annotation.ed_frame,
        es_frame=None if annotation is None else annotation.es_frame,
        ef_percent=nan if ef is None else ef,
    )
