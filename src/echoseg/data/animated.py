"""Animated stills: any data set with masks at ED and ES, each heart as a clip of a whole beat.

animated:FOLDER            one clip per patient and view of the data set in FOLDER
animated:FOLDER:SPLIT      of one split: train, validation, test

Patients stay in their split. The terms of the data set's owners hold for the clips made of it. The
first use of a heart registers its stills (0.2 s) and keeps the motion in the user's cache folder,
under the hash of pictures and masks; `echoseg data check animated:FOLDER` does so for all.
"""

import contextlib
import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from echoseg.clip import Annotation, Clip
from echoseg.data.dataset import Dataset, build_dataset
from echoseg.data.records import SPLIT_WORDS, Record
from echoseg.errors import ConfigError, DatasetError, OutputError
from echoseg.files import atomic_write, cache_folder

if TYPE_CHECKING:
    from torch import Tensor

    from echoseg.data.animate_config import AnimationConfig

PREFIX = "animated:"
FIELD_FORMAT = 1
"""Changes with the registration, so that older motions are not used."""
ES_SCALES, ED_SCALES = (0.4, 1.3), (-0.3, 0.1)
"""Ranges of the phase at ES and ED in all but the first variant of a heart."""


def parse_name(name: str) -> tuple[Path, str]:
    """The folder and the split, empty for all, of `animated:FOLDER[:SPLIT]`.

    Raises:
        DatasetError: If it names no folder.
    """
    place = name.removeprefix(PREFIX)
    folder, _, last = place.rpartition(":")
    if folder and last.lower() in SPLIT_WORDS:
        return Path(folder), SPLIT_WORDS[last.lower()]
    if not place or (folder and not Path(place).exists() and Path(folder).exists()):
        raise DatasetError(
            "an animated data set must be animated:FOLDER or animated:FOLDER:SPLIT with the split "
            f"train, validation or test, got {name!r}"
        )
    return Path(place), ""


def open_animated(name: str, variants: int = 1, config: "AnimationConfig | None" = None) -> Dataset:
    """Open `animated:FOLDER[:SPLIT]` by `animate_dataset`.

    Raises:
        DatasetError: If the folder holds no data set, or one without such clips.
    """
    from echoseg.data import load_dataset

    folder, split = parse_name(name)
    stills = load_dataset(folder)
    return animate_dataset(
        stills.split(split) if split else stills, variants=variants, config=config
    )


def animate_dataset(
    stills: Dataset,
    *,
    variants: int = 1,
    config: "AnimationConfig | None" = None,
    fields: Path | None = None,
) -> Dataset:
    """Make the animated clips of a data set with masks at ED and ES; its name and terms stay.

    Examples:
        >>> data = animate_dataset(echoseg.load_dataset("CAMUS/"), variants=4)
        >>> clip, annotation = data.split("train")[0]

    Args:
        stills: The data set; of a clip only the frames of ED and ES are used.
        variants: Clips per patient and view, each of other draws. The first has the patient's own
            ejection fraction, the others less or more motion.
        config: Settings; the draws of a clip also depend on its name.
        fields: Folder that keeps the motions; default: the user's cache folder.

    Raises:
        DatasetError: If no clip has masks.
    """
    from echoseg.data.animate_config import AnimationConfig

    if variants < 1:
        raise ConfigError(f"variants must be at least 1, got {variants}")
    records = [
        _record(record, index, config or AnimationConfig(), fields or cache_folder() / "motions")
        for record in stills.records
        if record.labelled
        for index in range(variants)
    ]
    if not records:
        raise DatasetError(
            f"{stills.root}: no clip has masks; animated clips need those of ED and ES"
        )
    notes = ("each clip is animated from its frames of ED and ES", *stills.notes)
    root = Path(f"{PREFIX}{stills.root}")
    return build_dataset(stills.name, root, records, stills.issues, notes)


def _record(stills: Record, index: int, config: "AnimationConfig", fields: Path) -> Record:
    name = stills.name if index == 0 else f"{stills.name}_variant{index}"
    digest = hashlib.sha256(f"{config.seed} {name}".encode()).digest()
    changes: dict[str, Any] = {"seed": int.from_bytes(digest[:4], "big")}
    if index and config.ef_percent is None:
        rng = np.random.default_rng([changes["seed"], 22])
        changes["scales"] = float(rng.uniform(*ED_SCALES)), float(rng.uniform(*ES_SCALES))
    read = partial(_read, stills.read, config.model_copy(update=changes), fields)
    return replace(stills, name=name, read=read, stills=False)


def _read(
    read: Callable[[], tuple[Clip, Annotation | None]], config: "AnimationConfig", fields: Path
) -> tuple[Clip, Annotation]:
    from echoseg.data.animate import Heart

    clip, annotation = read()
    if annotation is None or annotation.ed_frame is None or annotation.es_frame is None:
        raise DatasetError(f"{clip.source}: ED and ES must be known to animate it; leave it out")
    ends = [annotation.ed_frame, annotation.es_frame]
    if not set(ends) <= set(annotation.labelled_frames):
        raise DatasetError(f"{clip.source}: ED and ES must have masks to animate it; leave it out")
    frames, masks = clip.frames[ends], annotation.masks[ends]
    heart = Heart(
        frames,
        masks,
        spacing_mm=clip.spacing_mm,
        view=clip.view,
        velocity=motion_of(frames, masks, fields),
    )
    animated = heart.animate(config, source=clip.source)
    return animated.clip, replace(animated.annotation, quality=annotation.quality)


def motion_of(frames: np.ndarray, masks: np.ndarray, folder: Path) -> "Tensor":
    """The velocity field of stills, see `registration.register`, from a folder or added to it.

    A folder that cannot be written, or a damaged file, costs the registration.
    """
    import torch

    from echoseg.preprocess.registration import FIELD_SIZE, register

    digest = hashlib.sha256(f"{FIELD_FORMAT} {frames.shape}".encode())
    for each in (frames, masks):
        digest.update(np.ascontiguousarray(each).tobytes())
    path = folder / f"{digest.hexdigest()[:32]}.npy"
    shape = (2, FIELD_SIZE, FIELD_SIZE)
    if (held := _held_motion(path, shape)) is not None:
        return torch.from_numpy(held.astype(np.float32))
    velocity = register(frames, masks).numpy().astype(np.float16)
    with contextlib.suppress(OSError, OutputError):
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial_path:
            np.save(partial_path, velocity)
    return torch.from_numpy(velocity.astype(np.float32))


def _held_motion(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The motion of a file, float16 of a shape; None unless it is, byte for byte, such a file."""
    empty = io.BytesIO()
    np.save(empty, np.zeros(shape, np.float16))
    try:
        content = path.read_bytes()
    except OSError:
        return None
    start = empty.tell() - np.zeros(shape, np.float16).nbytes
    if len(content) != empty.tell() or content[:start] != empty.getvalue()[:start]:
        return None
    motion = np.frombuffer(content, np.float16, offset=start).reshape(shape)
    return motion if np.isfinite(motion).all() else None
