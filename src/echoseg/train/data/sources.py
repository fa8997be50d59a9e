"""Training data by name: simulated clips, a file of clips, or a data set in a known layout.

phantom:200             200 clips of the phantom, simulated when they are drawn
phantom:200:5000        the same from seed 5000 on
clips.npz               frames and masks, N T S S
FOLDER or clips.csv     any data set that `echoseg.load_dataset` opens
animated:FOLDER         its hearts animated, in several variants each for training
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from echoseg.clip import Annotation, Clip, View
from echoseg.data import Dataset, IssueKind, Record, animated, load_dataset
from echoseg.data.cache import CachedClips
from echoseg.data.phantom import simulated_pair
from echoseg.data.torch_dataset import ClipCache, TorchDataset
from echoseg.errors import ConfigError, DatasetError
from echoseg.io.numpy_file import read_array
from echoseg.phantom import PhantomConfig, Tier
from echoseg.train.data.training_set import ForeignClips, TrainingSet
from echoseg.untrusted import check_regular, reading

PHANTOM_FRAMES = 24
"""Frames of a simulated training clip: 0.4 to 1.2 s."""
ANIMATED_VARIANTS = 4
"""Clips per patient and view in training."""
TIERS = (*[Tier.EASY] * 3, *[Tier.MEDIUM] * 4, *[Tier.HARD] * 2, Tier.EXTREME)
CAMUS_NOTICE = (
    "weights trained on CAMUS (Leclerc et al., IEEE TMI 2019): CC BY-NC-SA 4.0, non-commercial "
    "research only; the model phantom (--model phantom) is free of this"
)


class Terms(NamedTuple):
    """What a data set's owners ask of weights trained on it."""

    title: str
    licence: str
    notice: str


def _echonet(name: str) -> Terms:
    return Terms(
        name,
        f"{name} research use",
        f"weights trained on {name}: its data use agreement allows non-commercial research only "
        "and forbids sharing the data",
    )


TERMS = {
    "camus": Terms("CAMUS", "CC-BY-NC-SA-4.0", CAMUS_NOTICE),
    "camus_mhd": Terms("CAMUS", "CC-BY-NC-SA-4.0", CAMUS_NOTICE),
    "ted": Terms("TED", "CC-BY-NC-SA-4.0", CAMUS_NOTICE.replace("CAMUS", "TED, CAMUS's sequences")),
    "echonet_dynamic": _echonet("EchoNet-Dynamic"),
    "echonet_pediatric": _echonet("EchoNet-Pediatric"),
    "echonet_lvh": _echonet("EchoNet-LVH"),
    "phantom": Terms("the phantom", "Apache-2.0", ""),
}
"""Key in `DATASETS` -> terms."""
CUSTOM_TERMS = Terms(
    "the user's own data",
    "as the data's owner allows",
    "weights trained on custom clips: the owner of the images decides how they may be used",
)


class Source(NamedTuple):
    """Training data and the terms of its owners."""

    clips: TrainingSet
    licence: str
    notice: str
    words: str
    """What weights trained on it were trained on, for their card."""
    num_left_out: int = 0
    """Files and clips that cannot be used, as far as known without reading them."""


class Reader(NamedTuple):
    """How data sets are opened: which views, on which grid, kept in which cache."""

    size_px: int
    cache: ClipCache
    views: tuple[View, ...] = (View.A4C, View.A2C)
    """Views that are used; clips of unknown view always are."""

    def open(self, data: Any, split: str = "train", *, field: str = "data") -> Source:
        """Open training data.

        Args:
            data: A name, such as phantom:200 or a folder, a `Dataset` or any map-style data set of
                the items that `TorchDataset` describes.
            split: `train`, `validation` or `all`.
            field: Setting that messages name.

        Raises:
            ConfigError: If a name says no number of clips.
            DatasetError: If there is nothing of that name, or nothing in it can be used.
        """
        if isinstance(held := _held_by(data), Dataset):
            return self._dataset(held, split, getattr(data, "transform", None) and data)
        if not isinstance(data, str | Path):
            return self._foreign(data)
        if str(data).startswith("phantom:"):
            clips = self._records(_phantom_records(str(data), self.size_px, field))
            return Source(clips, "Apache-2.0", "", "phantom clips")
        if str(data).startswith(animated.PREFIX):
            variants = ANIMATED_VARIANTS if split == "train" else 1
            return self._dataset(animated.open_animated(str(data), variants), split)
        path = Path(data)
        if path.is_file() and path.suffix != ".csv":
            return Source(self._records(_stored_records(path)), "Apache-2.0", "", "stored clips")
        if not path.exists():
            raise DatasetError(
                f"{field} must be phantom:N, an .npz file, the folder of a data set or "
                f"animated:FOLDER, {str(data)!r} is not there"
            )
        return self._dataset(load_dataset(path), split)

    def _dataset(self, data: Dataset, split: str, items: Any = None) -> Source:
        records = [
            record
            for record in _of_split(data, split)
            if record.view in (*self.views, View.UNKNOWN)
        ]
        if not records:
            held = ", ".join(f"{name or 'no split'} ({n})" for name, n in data.splits().items())
            raise DatasetError(
                f"{data.root} must have {' or '.join(self.views)} clips to take the split {split}, "
                f"it has none; all its clips: {held}. Give another data set, or other views"
            )
        name = CachedClips(data.root).dataset if data.name == "cache" else data.name
        terms = TERMS.get(name.removeprefix(animated.PREFIX), CUSTOM_TERMS)
        words = f"the training clips of {terms.title}"
        if any(text.startswith(animated.PREFIX) for text in (name, str(data.root))):
            words += ", animated from ED and ES"
        num_issues = sum(issue.kind is not IssueKind.KNOWN for issue in data.issues)
        clips = self._records(records, items)
        return Source(clips, terms.licence, terms.notice, words, num_issues)

    def _records(self, records: Sequence[Record], items: Any = None) -> TrainingSet:
        """Whole clips of records, or what the transform of a `TorchDataset` makes of them."""
        clips: Any = TorchDataset(records, size=self.size_px, cache=self.cache)
        if items is not None:
            options = {name: getattr(items, name) for name in ("size", "num_frames", "transform")}
            own = TorchDataset(records, cache=self.cache, **options)
            clips = ForeignClips(own, self.size_px)
        return training_set_of(clips, records)

    def _foreign(self, data: Any) -> Source:
        if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
            raise TypeError(
                f"data must be a path, a Dataset or a map-style data set, got {type(data).__name__}"
            )
        terms, num = CUSTOM_TERMS, len(data)
        patients = getattr(data, "patients", None) or [f"item {index}" for index in range(num)]
        labeled = getattr(data, "is_labeled", [True] * num)
        clips = TrainingSet(
            sources=(ForeignClips(data, self.size_px),),
            places=tuple((0, index) for index in range(num)),
            patients=tuple(map(str, patients)),
            views=(View.UNKNOWN,) * num,
            are_stills=torch.zeros(num, dtype=torch.bool),
            is_labeled=torch.as_tensor(labeled, dtype=torch.bool),
            is_target=torch.ones(num, dtype=torch.bool),
            is_sparse=torch.zeros(num, dtype=torch.bool),
            weights=torch.ones(num),
        )
        return Source(clips, terms.licence, terms.notice, terms.title)

    def open_validation(self, data: Sequence[Any], validation: Any) -> TrainingSet | None:
        """What a run is scored on: `validation`, or the first validation split there is."""
        held = _held_by(validation)
        if isinstance(held, Dataset) and "validation" not in held.splits():
            return self.open(validation, "all").clips
        if validation is not None:
            return self.open(validation, "validation", field="validation").clips
        for each in data:
            if isinstance(each, str | Path) and (
                Path(each).is_dir()
                or (Path(each).is_file() and Path(each).suffix == ".csv")
                or str(each).startswith(animated.PREFIX)
            ):
                each = load_dataset(each)
            held = _held_by(each)
            if isinstance(held, Dataset) and any(r.split == "validation" for r in held.records):
                return self.open(each, "validation").clips
        return None


def _held_by(data: Any) -> Any:
    """The data set whose clips a `TorchDataset` reads; other data themselves."""
    if not isinstance(data, TorchDataset):
        return data
    held = data.dataset or Dataset(name="custom", root=Path("data"), records=())
    return replace(held, records=data.records)


def training_set_of(clips: Any, records: Sequence[Record]) -> TrainingSet:
    """The training set of records whose clips `clips` reads."""
    return TrainingSet(
        sources=(clips,),
        places=tuple((0, index) for index in range(len(records))),
        patients=tuple(record.patient for record in records),
        views=tuple(record.view for record in records),
        are_stills=torch.tensor([record.stills for record in records], dtype=torch.bool),
        is_labeled=torch.tensor([record.labelled for record in records], dtype=torch.bool),
        is_target=torch.ones(len(records), dtype=torch.bool),
        is_sparse=torch.zeros(len(records), dtype=torch.bool),
        weights=torch.ones(len(records)),
    )


def _of_split(data: Dataset, split: str) -> Sequence[Record]:
    """Records of a split.

    Where a data set has no split `train`, all but validation and test; for validation all of one
    without any split.
    """
    if split == "all" or (split == "validation" and set(data.splits()) == {""}):
        return data.records
    if split == "train" and "train" not in data.splits():
        return [record for record in data.records if record.split not in ("validation", "test")]
    if split == "validation" and split not in data.splits():
        held = ", ".join(f"{name or 'no split'} ({n})" for name, n in data.splits().items())
        raise DatasetError(
            f"validation must have clips of the split validation, or no splits at all, {data.root} "
            f"has {held}; give another data set"
        )
    return data.split(split).records


def _stored_records(path: Path) -> list[Record]:
    """Clips of an .npz file with `frames` and `masks`, `N T S S` uint8; each is one patient.

    Raises:
        DatasetError: If the file holds something else.
    """
    rule = "must be an .npz file with frames and masks"
    with reading(path, DatasetError, rule, "write it again, by numpy.savez"):
        check_regular(path)
        frames, masks = (read_array(path, (name,), (4,)) for name in ("frames", "masks"))
    if frames.ndim != 4 or frames.shape != masks.shape or frames.dtype != np.uint8:
        raise DatasetError(
            f"{path} must hold frames and masks of one shape N T S S in uint8, got "
            f"{frames.shape} {frames.dtype} and {masks.shape}"
        )

    def read(index: int) -> tuple[Clip, Annotation]:
        return Clip(frames=frames[index]), Annotation(masks=masks[index])

    names = [f"{path.stem}-{index}" for index in range(len(frames))]
    return [
        Record(name=name, patient=name, view=View.UNKNOWN, files=(path,), read=partial(read, index))
        for index, name in enumerate(names)
    ]


def phantom_config(seed: int, size_px: int, num_frames: int = PHANTOM_FRAMES) -> PhantomConfig:
    """Config of the training clip of a seed: mostly A4C and A2C, all tiers, 20 to 60 Hz."""
    rng = np.random.default_rng([seed, 77])
    return PhantomConfig(
        seed=seed,
        view=View(str(rng.choice(["A4C", "A2C", "ALAX"], p=[0.62, 0.34, 0.04]))),
        tier=TIERS[seed % len(TIERS)],
        size_px=size_px,
        num_frames=num_frames,
        frame_rate_hz=float(rng.uniform(20, 60)),
    )


def _phantom_records(name: str, size_px: int, field: str) -> list[Record]:
    numbers = name.split(":")[1:]
    if not all(part.isdecimal() for part in numbers) or len(numbers) > 2 or not int(numbers[0]):
        raise ConfigError(
            f"{field} must be phantom:N or phantom:N:FIRST_SEED with whole numbers, N from 1 on, "
            f"got {name!r}"
        )
    num, first = int(numbers[0]), int(numbers[1]) if len(numbers) > 1 else 0
    configs = [phantom_config(seed, max(size_px, 64)) for seed in range(first, first + num)]
    return [
        Record(
            name=f"phantom-{config.seed}",
            patient=f"phantom-{config.seed}",
            view=config.view,
            files=(),
            read=partial(simulated_pair, config),
        )
        for config in configs
    ]
