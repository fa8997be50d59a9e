"""What carrying a correction of one frame to the next ones is worth, and by which method.

Clips have true masks on all frames. A network segments a clip; on one frame the reader's correction
is made of the true mask, all of it (`whole`) or on one side of the long axis (`half`). Then the
masks of the next frames are, by method:

    none       the network's own
    contour    the corrected mask, as it is
    offset     the network's own, with the change of the signed distances of the corrected frame
    flow       the same, the change moved along by optical flow
    faded      the same, the change fading with time (`web.reading.carry`)
    memory     the network's, run on from a state that was fitted, by gradient descent, until the
               network's answer to the corrected frame is the corrected mask

`memory` is not an interface of the network, which takes no mask: it is what its state can hold.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from echoseg.clip import Annotation, Clip, Label
from echoseg.data import Record
from echoseg.evaluation.segment import loaded
from echoseg.measure.clean import clean_mask
from echoseg.metrics.agreement import mean_interval
from echoseg.metrics.segmentation import dice
from echoseg.parallel import torch_threads
from echoseg.preprocess.frame_transform import FrameTransform
from echoseg.preprocess.registration import heart_box, signed_distances
from echoseg.web.reading.carry import carry_correction, moved_mask
from experiments.paired import paired_mean

METHODS = ("none", "contour", "offset", "flow", "faded", "memory")
CORRECTIONS = ("whole", "half")
MAX_DISTANCE = 10
"""Frames after the corrected one."""
STRUCTURES = ((Label.LV_CAVITY,), (Label.LV_CAVITY, Label.LV_MYOCARDIUM))
"""Labels inside LV endocardium and epicardium, whose mean Dice is the score."""
FIT_STEPS, FIT_RATE = 30, 0.2
"""Of the state (Adam): on two training clips it reaches a Dice of .99 on the corrected frame."""


Masks = dict[int, np.ndarray]
"""Label maps `H W` uint8 by frame."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CarryScore:
    """Dice of one frame by one method.

    Attributes:
        clip: Name of the clip.
        patient: Its patient, or simulated heart.
        anchor: `ed`, `es` or `mid`, half-way from ED to ES: which frame was corrected.
        correction: `whole` or `half`.
        method: As above.
        distance: Frames after the corrected one, itself 0.
        own_dice: Dice of the network's mask of the corrected frame.
        dice: Dice after carrying.
    """

    clip: str
    patient: str
    anchor: str
    correction: str
    method: str
    distance: int
    own_dice: float
    dice: float


def score_clip(model: str, record: Record, methods: Sequence[str] = METHODS) -> list[CarryScore]:
    """Score the methods on a clip, from ED and from ES on.

    Raises:
        EchosegError: If the network cannot be loaded, or the clip not be read.
    """
    clip, annotation = record.read()
    assert annotation is not None
    frames, truth = clip.frames, annotation.masks
    network, size_px = loaded(model)
    scores = []
    with torch_threads(1):
        run = Run(network, clip, size_px)
        own = dict(enumerate(run.masks()))
        for anchor, end in anchors_of(annotation):
            wanted = range(end + 1, min(end + MAX_DISTANCE, len(frames) - 1) + 1)
            own_dice = mean_dice(own[end], truth[end])
            for correction in CORRECTIONS:
                corrected = correct(own[end], truth[end], correction)
                for method in methods:
                    carried = CARRY[method](run, own, end, corrected, wanted)
                    scores += [
                        CarryScore(
                            clip=record.name,
                            patient=record.patient,
                            anchor=anchor,
                            correction=correction,
                            method=method,
                            distance=frame - end,
                            own_dice=own_dice,
                            dice=mean_dice(carried.get(frame, corrected), truth[frame]),
                        )
                        for frame in (end, *wanted)
                    ]
    return scores


def anchors_of(annotation: Annotation) -> list[tuple[str, int]]:
    """The frames that are corrected, each with frames after it."""
    ed, es = annotation.ed_frame, annotation.es_frame
    ends = [("ed", ed), ("es", es)]
    if ed is not None and es is not None and ed < es:
        ends.append(("mid", (ed + es) // 2))
    last = len(annotation.masks) - 1
    return [(name, end) for name, end in ends if end is not None and end < last]


def mean_dice(mask: np.ndarray, truth: np.ndarray) -> float:
    """Mean Dice of LV endocardium and epicardium; of a border that neither has, 1."""
    values = [dice(mask, truth, list(labels)) for labels in STRUCTURES]
    return float(np.mean([1.0 if one is None else one for one in values]))


def correct(own: np.ndarray, truth: np.ndarray, correction: str) -> np.ndarray:
    """The network's mask `H W`, corrected by the true one: whole, or on one side of its axis."""
    if correction == "whole" or not (truth == Label.LV_CAVITY).any():
        return truth.copy()
    rows, columns = np.nonzero(truth == Label.LV_CAVITY)
    middle = np.array([rows.mean(), columns.mean()])
    _, axes = np.linalg.eigh(np.cov(np.stack([rows, columns])))
    normal = axes[:, 0] * (1 if axes[1, 0] > 0 else -1)  # across the cavity, to the right
    places = np.moveaxis(np.indices(own.shape), 0, -1) - middle
    return clean_mask(np.where(places @ normal > 0, truth, own).astype(np.uint8))


class Run:
    """A streaming network on the frames of a clip.

    Args:
        network: A `Segmenter`.
        clip: The clip.
        size_px: Side of the network's input.
    """

    def __init__(self, network: Any, clip: Clip, size_px: int) -> None:
        self.network, self.clip, frames = network, clip, clip.frames
        self._transform = FrameTransform((frames.shape[1], frames.shape[2]), size_px)
        self._inputs = [torch.from_numpy(self._transform.apply(frame)) for frame in frames]

    def masks(self) -> list[np.ndarray]:
        """Label maps of all frames, stray pieces removed."""
        return self._go(self.network.init_state(1), range(len(self._inputs)))

    def masks_after(
        self, start: int, corrected: np.ndarray, wanted: Sequence[int]
    ) -> list[np.ndarray]:
        """Label maps of a frame whose corrected mask the state was fitted to, and of the next."""
        with torch.no_grad():
            state = self.network.init_state(1)
            for frame in self._inputs[: start + 1]:
                _, state = self.network.step(frame, state)
        target = self._target(corrected)
        free = [part.detach().clone() for part in state]
        fitted = [part.requires_grad_() for part in free if part.is_floating_point()]
        optimizer = torch.optim.Adam(fitted, lr=FIT_RATE)
        for _ in range(FIT_STEPS):
            logits, _ = self.network.step(self._inputs[start], type(state)(*free))
            optimizer.zero_grad()
            functional.cross_entropy(logits, target).backward()
            optimizer.step()
        self.network.zero_grad()
        with torch.no_grad():
            after = type(state)(*(part.detach() for part in free))
            logits, after = self.network.step(self._inputs[start], after)
        return [self._mask(logits), *self._go(after, wanted)]

    def _go(self, state: Any, wanted: Sequence[int]) -> list[np.ndarray]:
        masks = []
        with torch.inference_mode():
            for frame in wanted:
                logits, state = self.network.step(self._inputs[frame], state)
                masks.append(self._mask(logits))
        return masks

    def _mask(self, logits: Tensor) -> np.ndarray:
        return clean_mask(self._transform.invert(logits.numpy()))

    def _target(self, mask: np.ndarray) -> Tensor:
        """A label map `H W` at the network's size, `1 S S`."""
        layers = [
            self._transform.apply(((mask == label) * 255).astype(np.uint8)) for label in Label
        ]
        return torch.from_numpy(np.concatenate(layers, 1)).argmax(1)  # (1, S, S)


def _none(run: Run, own: Masks, start: int, corrected: Any, wanted: Sequence[int]) -> Masks:
    return own


def _contour(run: Run, own: Masks, start: int, corrected: Any, wanted: Sequence[int]) -> Masks:
    return {frame: corrected for frame in wanted}


def _offset(run: Run, own: Masks, start: int, corrected: Any, wanted: Sequence[int]) -> Masks:
    box = heart_box(np.stack([*(own[frame] for frame in wanted), own[start], corrected]))
    change = (signed_distances(corrected) - signed_distances(own[start])).numpy()[:, *box]
    return {frame: moved_mask(own[frame], change, box) for frame in wanted}


def _flow(run: Run, own: Masks, start: int, corrected: Any, wanted: Sequence[int]) -> Masks:
    masks, no_time = list(own.values()), np.zeros(len(own))
    return carry_correction(run.clip.frames, no_time, masks, start, corrected, wanted)


def _faded(run: Run, own: Masks, start: int, corrected: Any, wanted: Sequence[int]) -> Masks:
    masks, times_s = list(own.values()), run.clip.times_s
    assert times_s is not None
    return carry_correction(run.clip.frames, times_s, masks, start, corrected, wanted)


def _memory(run: Run, own: Masks, start: int, corrected: Any, wanted: Sequence[int]) -> Masks:
    masks = run.masks_after(start, corrected, wanted)
    return dict(zip((start, *wanted), masks, strict=True))


CARRY: dict[str, Callable[..., Masks]] = dict(
    zip(METHODS, (_none, _contour, _offset, _flow, _faded, _memory), strict=True)
)
"""(run, own masks, corrected frame, its corrected mask, wanted frames) -> masks by frame."""


def summarize(scores: Sequence[CarryScore]) -> list[dict[str, Any]]:
    """Mean Dice of each correction, method and distance, and its gain over `none`.

    Of each clip the mean over its anchors counts. The interval of the gain is a bootstrap over
    patients; the smallest detectable effect is that of `paired_mean`, with one value per patient.
    """
    values: dict[tuple[str, str, int], dict[str, list[float]]] = {}
    for one in scores:
        key = (one.correction, one.method, one.distance)
        values.setdefault(key, {}).setdefault(one.clip, []).append(one.dice)
    patients = {one.clip: one.patient for one in scores}
    rows = []
    for (correction, method, distance), clips in values.items():
        own = values[correction, "none", distance]
        names = sorted(clips)
        gains = [100 * float(np.mean(clips[name]) - np.mean(own[name])) for name in names]
        groups = [patients[name] for name in names]
        by_patient = [
            float(np.mean([gain for gain, one in zip(gains, groups, strict=True) if one == group]))
            for group in sorted(set(groups))
        ]
        interval = mean_interval(gains, groups) or (None, None)
        rows.append(
            {
                "correction": correction,
                "method": method,
                "distance": distance,
                "num_clips": len(names),
                "num_patients": len(by_patient),
                "dice": float(np.mean([np.mean(clips[name]) for name in names])),
                "gain_points": float(np.mean(gains)),
                "low_points": interval[0],
                "high_points": interval[1],
                "smallest_effect_points": paired_mean(np.array([by_patient])).smallest_effect,
            }
        )
    return rows
