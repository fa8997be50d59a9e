"""What is learnt from: short clips in memory, few of them labelled.

A pool holds the frames that may be drawn, on a square grid, and the masks that may be looked at.
`truth` holds all masks that exist, also those hidden from training: only the telling of how good
pseudo-masks are reads it, no loss does.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from echoseg.clip import Label, Phase
from echoseg.data import camus
from echoseg.errors import ConfigError, DatasetError
from echoseg.losses import IGNORE_LABEL
from echoseg.preprocess.letterbox import letterbox_for
from echoseg.preprocess.letterbox_torch import letterbox_frames, letterbox_masks

NUM_LABELS = len(Label)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Clips to learn from.

    Attributes:
        frames: `N T S S` uint8 grey levels.
        masks: `N T S S` uint8 labels; `IGNORE_LABEL` where none may be looked at.
        truth: The same with every mask that exists; for telling, not for learning.
        phases: `N T` float, share of the beat since ED (ES lies near 0.4); nan when unknown.
        patients: The patient of each clip.
        known_labels: `N K` bool, the labels that a clip's masks tell apart.
        weights: `N`, how often a labelled clip is drawn beside the others.
        lengths: `N`, so many of the `T` frames are the clip's own, the last is repeated behind.

    Raises:
        ConfigError: If shapes do not go together.
    """

    frames: Tensor
    masks: Tensor
    truth: Tensor
    phases: Tensor
    patients: tuple[str, ...]
    known_labels: Tensor
    weights: Tensor
    lengths: Tensor

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        num, time = self.frames.shape[:2]
        right = (
            self.masks.shape == self.truth.shape == self.frames.shape
            and self.phases.shape == (num, time)
            and len(self.patients) == len(self.known_labels) == len(self.weights) == num
            and len(self.lengths) == num
        )
        if not right:
            raise ConfigError(
                f"a pool must have masks, phases, patients and known labels for each of its {num} "
                f"clips of {time} frames, got masks {tuple(self.masks.shape)}, phases "
                f"{tuple(self.phases.shape)} and {len(self.patients)} patients"
            )

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.frames)

    @property
    def is_labeled(self) -> Tensor:
        """`N` bool: clips with a mask on at least one frame."""
        return (self.masks != IGNORE_LABEL).flatten(1).any(1)

    def labelled_share(self, share: float, seed: int = 0) -> "Pool":
        """Keep the masks of a share of patients only (video-sparse).

        The patients of a smaller share are among those of a larger one with the same seed.

        Args:
            share: Of all patients, in (0, 1]; rounded to whole patients.
            seed: Of the draw.

        Raises:
            ConfigError: If the share is out of range or leaves no patient.
        """
        if not 0 < share <= 1:
            raise ConfigError(
                f"labeled_fraction must be more than 0 % and at most 100 %, got {share:.3%}"
            )
        names = sorted(set(self.patients))
        num = math.floor(share * len(names) + 0.5)
        if num == 0:
            raise ConfigError(
                f"labeled_fraction must leave at least one patient, {share:.3%} of {len(names)} "
                f"leaves none; give {100 / len(names):.2g}% or more"
            )
        order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))
        kept = {names[i] for i in order[:num].tolist()}
        hidden = torch.tensor([name not in kept for name in self.patients])
        return replace(self, masks=_hidden(self.masks, hidden[:, None].expand(self.phases.shape)))

    def labelled_ends(self) -> "Pool":
        """Keep the masks of ED and ES of each clip only (frame-sparse).

        ED is the frame with the largest LV, ES the one with the smallest.
        """
        areas = (self.truth == Label.LV_CAVITY).sum((2, 3))
        ends = torch.stack([areas.argmax(1), areas.argmin(1)], 1)
        hidden = torch.ones_like(areas, dtype=torch.bool).scatter(1, ends, False)
        return replace(self, masks=_hidden(self.masks, hidden))

    def first(self, num: int) -> "Pool":
        """Return the first clips only."""
        return replace(
            self,
            frames=self.frames[:num],
            masks=self.masks[:num],
            truth=self.truth[:num],
            phases=self.phases[:num],
            patients=self.patients[:num],
            known_labels=self.known_labels[:num],
            weights=self.weights[:num],
            lengths=self.lengths[:num],
        )


def _hidden(masks: Tensor, hidden: Tensor) -> Tensor:
    """Return masks with the frames `N T` blotted out."""
    return torch.where(hidden[..., None, None], IGNORE_LABEL, masks).to(torch.uint8)


def pool_of(frames: Tensor, masks: Tensor, phases: Tensor, patients: list[str]) -> Pool:
    """Return a pool in which every label of every frame is known."""
    known = torch.ones(len(frames), NUM_LABELS, dtype=torch.bool)
    return Pool(
        frames=frames,
        masks=masks,
        truth=masks,
        phases=phases,
        patients=tuple(patients),
        known_labels=known,
        weights=torch.ones(len(frames)),
        lengths=whole_lengths(frames),
    )


def whole_lengths(frames: Tensor) -> Tensor:
    """Return the lengths of clips `N T ...` all of whose frames are their own."""
    return torch.full(frames.shape[:1], frames.shape[1])


def camus_pool(root: Path, size_px: int, split: str = "training") -> Pool:
    """Return the A4C ED and ES of a CAMUS split, letterboxed: clips of two frames.

    Raises:
        DatasetError: If the folder is no CAMUS copy.
    """
    frames, masks, phases, names = [], [], [], []
    for still in camus.stills(root, split):
        letterbox = letterbox_for((0, 0, *still.picture.shape), size_px)
        picture = torch.from_numpy(still.picture)[None].float()
        frames.append(letterbox_frames(picture, letterbox).round().to(torch.uint8)[0])
        masks.append(letterbox_masks(torch.from_numpy(still.mask)[None], letterbox)[0])
        phases.append(0.0 if still.phase is Phase.ED else 0.4)
        names.append(still.patient)
    pairs = (torch.stack(frames), torch.stack(masks), torch.tensor(phases))
    return pool_of(*(each.unflatten(0, (-1, 2)) for each in pairs), patients=names[::2])


def stored_pool(path: Path) -> Pool:
    """Return the clips of an .npz file with `frames` and `masks`, `N T S S` uint8.

    Each clip counts as a patient. `scripts/make_phantom_clips.py` writes such files.

    Raises:
        DatasetError: If the file is not there or holds something else.
    """
    try:
        with np.load(path) as file:
            frames, masks = (torch.from_numpy(file[name]) for name in ("frames", "masks"))
    except (OSError, EOFError, KeyError, ValueError) as error:
        raise DatasetError(
            f"{path} must be an .npz file with frames and masks ({error}); "
            "scripts/make_phantom_clips.py makes one"
        ) from error
    if frames.ndim != 4 or frames.shape != masks.shape or frames.dtype != torch.uint8:
        raise DatasetError(
            f"{path} must hold frames and masks of one shape N T S S in uint8, got "
            f"{tuple(frames.shape)} {frames.dtype} and {tuple(masks.shape)}"
        )
    names = [f"{path.stem}-{number}" for number in range(len(frames))]
    return pool_of(frames, masks, phases_of(masks), names)


def phases_of(masks: Tensor) -> Tensor:
    """Return where in the beat the frames `N T` lie: 0 at the largest LV, 0.4 at the smallest."""
    areas = (masks == Label.LV_CAVITY).sum((2, 3)).float()
    low, high = areas.amin(1, keepdim=True), areas.amax(1, keepdim=True)
    return 0.4 * (high - areas) / (high - low).clamp(min=1)
