"""Copies of a clip that a reliability check must distinguish: exported, and degraded.

An export shows the same heart as well as before. A degradation is anything from harmless to
unusable. Each lasts for the whole clip, other than the single frames of `corruptions`:

- hidden wall: one side of the wall lies in a shadow;
- clipped blacks: dark grey levels are cut off, as some scanners do;
- gain: far too dark, or too bright;
- corrupted frames: `corruptions.corrupt_frames`, 15 to 60 % of the frames;
- artefacts: three of `artefacts`, over the wall;
- noise: speckle over everything.
"""

import hashlib
import io
from dataclasses import replace
from enum import StrEnum

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from echoseg.clip import Annotation, Clip, Label
from echoseg.evaluation.artefacts import MIN_GREY, add_artefacts, sector_of
from echoseg.evaluation.corruptions import corrupt_frames

EDGE_SHARPNESS = 25.0
"""Of the hidden side's border, per radian."""


class Degradation(StrEnum):
    """Kind of degradation."""

    HIDDEN_WALL = "hidden wall"
    CLIPPED_BLACKS = "clipped blacks"
    GAIN = "gain"
    CORRUPTED_FRAMES = "corrupted frames"
    ARTEFACTS = "artefacts"
    NOISE = "noise"


BLACK_GREY, EXPORT_SIDE_PX, JPEG_QUALITY = 32, 112, 50
"""Of an export: grey levels cut off, longer side, and compression."""


def export_copy(clip: Clip) -> Clip:
    """The clip as another machine may export it: blacks cut off, small, and compressed."""
    factor = EXPORT_SIDE_PX / max(clip.size)
    rows, columns = (max(1, round(side * factor)) for side in clip.size)
    cut = (clip.frames.astype(np.float32) - BLACK_GREY).clip(0) * (255 / (255 - BLACK_GREY))
    frames = []
    for frame in cut.round().astype(np.uint8):
        file = io.BytesIO()
        small = Image.fromarray(frame).resize((columns, rows), Image.Resampling.BILINEAR)
        small.save(file, "JPEG", quality=JPEG_QUALITY)
        frames.append(np.asarray(Image.open(file)))
    spacing_mm = clip.spacing_mm and (
        clip.spacing_mm[0] * clip.size[0] / rows,
        clip.spacing_mm[1] * clip.size[1] / columns,
    )
    return replace(
        clip, frames=np.stack(frames), spacing_mm=spacing_mm, sector_box=None, trace_boxes=()
    )


def degrade(
    clip: Clip, annotation: Annotation, name: str, kind: Degradation | None = None
) -> tuple[Clip, Degradation]:
    """A degraded copy of a clip, the same for the same name, and the kind of degradation.

    Args:
        clip: The clip.
        annotation: Its masks, where artefacts are to lie.
        name: Random seed.
        kind: The kind; drawn by default.
    """
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    kind = kind or tuple(Degradation)[seed % len(Degradation)]
    generator = torch.Generator().manual_seed(seed)
    frames = torch.tensor(clip.frames)[None].float() / 255  # (1, T, H, W)
    degraded = _degraded(frames, torch.tensor(annotation.masks)[None], kind, generator)
    pixels = (255 * degraded[0].clamp(0, 1)).round().numpy().astype(np.uint8)
    return replace(clip, frames=pixels), kind


def _degraded(
    frames: Tensor, masks: Tensor, kind: Degradation, generator: torch.Generator
) -> Tensor:
    amount, which = torch.rand(2, generator=generator).tolist()
    match kind:
        case Degradation.HIDDEN_WALL:
            return frames * (1 - (0.6 + 0.38 * amount) * _one_side(frames, masks, which < 0.7))
        case Degradation.CLIPPED_BLACKS:
            black = 0.08 + 0.27 * amount
            return (frames - black) / (1 - black)
        case Degradation.GAIN:
            return frames * (0.15 + 0.35 * amount if which < 0.5 else 1.6 + 1.9 * amount)
        case Degradation.CORRUPTED_FRAMES:
            return corrupt_frames(frames, 0.15 + 0.45 * amount, generator)[0]
        case Degradation.ARTEFACTS:
            for _ in range(3):
                frames = add_artefacts(frames, 1.0, generator, masks=masks)[0]
            return frames
        case Degradation.NOISE:
            noise = (0.1 + 0.25 * amount) * _speckle(frames, generator) * (frames > MIN_GREY)
            return frames * (1 - 0.5 * amount) + noise


def _one_side(frames: Tensor, masks: Tensor, is_right: bool) -> Tensor:
    """How far beams beyond one through the wall are hidden, `1 1 H W`."""
    side, angle = 1.0 if is_right else -1.0, sector_of(frames).angle[0]
    wall = angle[(masks[0] == Label.LV_MYOCARDIUM).any(0)]
    far = wall[(wall - wall.mean()) * side > 0] if len(wall) else angle.flatten()
    start = far.quantile(0.35 if is_right else 0.65) if len(far) else angle.mean()
    return torch.sigmoid(side * (angle - start) * EDGE_SHARPNESS)[None, None]


def _speckle(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Rayleigh noise with grains of three pixels, new in each frame, `1 T H W`."""
    rows, columns = (-(-side // 3) for side in frames.shape[2:])
    waves = torch.randn((1, 2 * frames.shape[1], rows, columns), generator=generator)
    waves = functional.interpolate(waves, size=frames.shape[2:], mode="bicubic")
    return waves.unflatten(1, (2, -1)).square().sum(1).sqrt()
