"""Animate a heart: ED and ES stills with masks -> a clip of whole beats with a mask on each frame.

The motion is the registration of the two stills, run back and forth by the phantom's rhythm. A
frame is the still of ED moved forth and that of ES moved back, cross-faded around mid-motion; its
speckle is new from frame to frame. Masks come from the signed distances of the experts' borders,
moved by the same motion, so they belong to the frame. Where the phase is exactly 0 or 1 at the
annotated ED and ES, picture and mask are the stills themselves.

What this cannot show: valves that open, and what enters the imaging plane.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from echoseg.clip import Annotation, Clip, Label, View
from echoseg.data.animate_config import (
    BLOOD_DECORRELATION_S,
    MAX_SCALE,
    MAX_THROUGH_PLANE,
    MIN_SCALE,
    TISSUE_DECORRELATION_S,
    AnimationConfig,
    Timeline,
    timeline,
)
from echoseg.errors import ArgumentError, ConfigError, DatasetError
from echoseg.measure.clean import clean_masks
from echoseg.measure.volumes import cavity_volumes_ml, ef_percent
from echoseg.preprocess.registration import (
    FIELD_SIZE,
    compose,
    flow,
    heart_box,
    pixel_grid,
    register,
    signed_distances,
    smooth,
)
from echoseg.preprocess.speckle import GrainSource, Texture, area_of, bridge, texture_of, to_grey

FADE = (0.15, 0.85)
"""Phases between which the picture changes from that of ED to that of ES."""
MIN_WEIGHT = 0.02
"""Weight below which a still does not count."""
SLOW_PERIODS_S = (2.5, 6.0)
"""Periods of the through-plane change: breathing."""
MIN_STEP = 0.005
"""Change of phase below which grain is not moved."""
LEVEL_PER_SHIFT = 4.0
"""Change of the log grey level with the through-plane change, per fraction of the side."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AnimatedClip:
    """A clip with its annotation, and the phase of each frame, `T`: 0 at ED, 1 at ES."""

    clip: Clip
    annotation: Annotation
    phases: np.ndarray

    @cached_property
    def volumes(self) -> np.ndarray:
        """Volume of each mask by single-plane disks, `T`; see `cavity_volumes_ml`."""
        return cavity_volumes_ml(clean_masks(self.annotation.masks), self.clip.spacing_mm)


class Heart:
    """Two stills that are registered, from which clips are made.

    Examples:
        >>> heart = Heart(frames, masks, spacing_mm=(0.6, 0.6))  # ED and ES, `2 H W` uint8
        >>> animated = heart.animate(AnimationConfig(seed=1, ef_percent=45))
        >>> animated.clip, animated.annotation

    Args:
        frames: Pictures of ED and ES, `2 H W` uint8.
        masks: Their label maps, `2 H W` uint8.
        spacing_mm: (row, column) millimeters per pixel; None when unknown.
        view: The view.
        velocity: The motion as `register` returns it; None registers the stills.

    Raises:
        ArgumentError: If frames, masks, spacing or motion have another shape, type or range.
        DatasetError: If a still has no LV cavity, or next to no pixel that is not black.
        TypeError: If frames or masks are not numpy arrays.
    """

    def __init__(
        self,
        frames: np.ndarray,
        masks: np.ndarray,
        *,
        spacing_mm: tuple[float, float] | None = None,
        view: View = View.UNKNOWN,
        velocity: Tensor | None = None,
    ) -> None:
        _check_stills(frames, masks, spacing_mm, velocity)
        self.frames, self.masks, self.spacing_mm, self.view = frames, masks, spacing_mm, view
        self.velocity = register(frames, masks) if velocity is None else velocity
        self.box = heart_box(masks)
        self.shape = int(masks.shape[1]), int(masks.shape[2])
        self._distances = [signed_distances(mask) for mask in masks]

    def animate(self, config: AnimationConfig | None = None, *, source: str = "") -> AnimatedClip:
        """Make a clip.

        Raises:
            ConfigError: If the ejection fraction is out of the heart's reach, or the frames are too
                few to hold ED and ES.
        """
        config = config or AnimationConfig()
        rng = np.random.default_rng([config.seed, 21])
        time = timeline(config, rng)
        scales = self.scales_for(config.ef_percent) if config.ef_percent else config.scales
        phases = scales[0] + (scales[1] - scales[0]) * time.contraction
        frames, masks = _Renderer(self, time, config, rng).render(phases)
        ends = [time.ed_frame, time.es_frame]
        edv, esv = cavity_volumes_ml(clean_masks(masks[ends]), self.spacing_mm)
        ef = ef_percent(float(edv), float(esv))
        is_ml = self.spacing_mm is not None and ef is not None and ef >= 0
        return AnimatedClip(
            clip=Clip(
                frames=frames,
                times_s=time.times_s,
                spacing_mm=self.spacing_mm,
                view=self.view,
                r_wave_times_s=time.r_wave_times_s,
                source=source,
            ),
            annotation=Annotation(
                masks=masks,
                ed_frame=time.ed_frame,
                es_frame=time.es_frame,
                ef_percent=ef if ef is not None and ef >= 0 else None,
                edv_ml=float(edv) if is_ml else None,
                esv_ml=float(esv) if is_ml else None,
            ),
            phases=phases,
        )

    def volume_at(self, phase: float) -> float:
        """Volume of the mask at a phase; see `AnimatedClip.volumes`."""
        return float(cavity_volumes_ml(clean_masks(self.mask_at(phase)[None]), self.spacing_mm)[0])

    def scales_for(self, ef: float) -> tuple[float, float]:
        """Phases at ED and ES of an ejection fraction in percent, by bisection of the volumes.

        Less and more motion than the stills' own is taken at ES, the rest at ED.

        Raises:
            ConfigError: If no motion has it.
        """

        def scales(motion: float) -> tuple[float, float]:
            return min(0.0, MAX_SCALE - motion), min(motion, MAX_SCALE)

        def reached(motion: float) -> float:
            ed, es = (self.volume_at(phase) for phase in scales(motion))
            return 100 * (1 - es / ed)

        low, high = 0.0, MAX_SCALE - MIN_SCALE
        if not 0 <= ef <= (largest := reached(high)):
            raise ConfigError(
                f"ef_percent must be 0 to {max(largest, 0):.1f} for this heart, got {ef:g}"
            )
        for _ in range(10):
            middle = (low + high) / 2
            low, high = (middle, high) if reached(middle) < ef else (low, middle)
        return scales((low + high) / 2)

    def mask_at(self, phase: float, grids: tuple[Tensor, Tensor] | None = None) -> np.ndarray:
        """The label map `H W` at a phase.

        Args:
            phase: 0 at ED, 1 at ES.
            grids: Where each pixel lies in ED and in ES, `H W 2`; None: as the phase says.
        """
        shape = self.shape
        if grids is None:
            to_ed, to_es = self.fields(np.array([phase]))
            grids = to_grid(to_ed, shape), to_grid(to_es, shape)
        weight, distances = min(max(phase, 0.0), 1.0), torch.zeros(())
        for still, share in ((0, 1 - weight), (1, weight)):
            if share:
                moved = pull(self._distances[still], grids[still][self.box])
                distances = distances + share * moved
        mask = np.zeros(shape, np.uint8)
        inside = mask[self.box]
        cavity, heart, atrium = (distances > 0).numpy()
        inside[atrium] = Label.LA_CAVITY
        inside[heart] = Label.LV_MYOCARDIUM
        inside[cavity] = Label.LV_CAVITY
        return mask

    def fields(self, phases: np.ndarray, slow: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Displacements `T 2 S S` from frames at phases `T` to ED and to ES, after a slow one."""
        at = torch.from_numpy(np.asarray(phases, np.float32))
        both = flow(self.velocity[None], -at), flow(self.velocity[None], 1 - at)
        return both if slow is None else (compose(both[0], slow), compose(both[1], slow))


def _check_stills(
    frames: np.ndarray,
    masks: np.ndarray,
    spacing_mm: tuple[float, float] | None,
    velocity: Tensor | None,
) -> None:
    """Refuse what no heart can be made of; see `Heart`."""
    stills = Clip(frames=frames, spacing_mm=spacing_mm)
    Annotation(masks=masks).check_fits(stills)
    if stills.num_frames != 2:
        raise ArgumentError(f"frames must be 2 stills, ED and ES, got {stills.num_frames} frames")
    if velocity is not None and velocity.shape != (2, FIELD_SIZE, FIELD_SIZE):
        raise ArgumentError(
            f"velocity must have the shape (2, {FIELD_SIZE}, {FIELD_SIZE}) that register returns, "
            f"got {tuple(velocity.shape)}"
        )
    if not (masks == Label.LV_CAVITY).any((1, 2)).all():
        raise DatasetError("masks must have an LV cavity at ED and at ES, one has none")
    if not area_of(frames).inside.any():
        rows, columns = stills.size
        raise DatasetError(
            "frames must have a sector over 4 pixels wide that is not black, these of "
            f"{columns} x {rows} pixels have none; leave them out"
        )


def to_grid(field: Tensor, shape: tuple[int, int]) -> Tensor:
    """Where each pixel of a frame of a shape lies, `H W 2`, by its displacement `1 2 S S`."""
    moved = functional.interpolate(field, shape, mode="bilinear", align_corners=False)
    return (moved[0] + pixel_grid(*shape)).movedim(0, -1)


def pull(maps: Tensor, grid: Tensor) -> Tensor:
    """Maps `C H W` at the places of a grid `h w 2`."""
    return functional.grid_sample(
        maps[None], grid[None], padding_mode="border", align_corners=False
    )[0]


class _Renderer:
    """Draws the frames and masks of a clip."""

    def __init__(
        self, heart: Heart, time: Timeline, config: AnimationConfig, rng: np.random.Generator
    ) -> None:
        self.heart, self.time, self.rng = heart, time, rng
        self.area = area_of(heart.frames)
        self.textures = [texture_of(frame, self.area) for frame in heart.frames]
        self.blood = [
            _blood(texture, mask) for texture, mask in zip(self.textures, heart.masks, strict=True)
        ]
        interval_s = float(time.times_s[1] - time.times_s[0])
        tissue_s = config.tissue_decorrelation_s or float(rng.uniform(*TISSUE_DECORRELATION_S))
        blood_s = config.blood_decorrelation_s or float(rng.uniform(*BLOOD_DECORRELATION_S))
        self.rhos = tuple(float(np.exp(-interval_s / each)) for each in (tissue_s, blood_s))
        share = config.through_plane
        self.share = float(rng.uniform(0, MAX_THROUGH_PLANE)) if share is None else share

    def render(self, phases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Frames and masks, each `T H W` uint8, at phases `T`."""
        heart, time, shape = self.heart, self.time, self.heart.shape
        course = self._slow_course()
        nodes = torch.from_numpy(self.rng.standard_normal((3, 4, 4), dtype=np.float32))[None]
        shift = functional.interpolate(nodes[:, :2], (FIELD_SIZE,) * 2, mode="bicubic")
        level = functional.interpolate(nodes[:, 2:], shape, mode="bicubic")[0, 0]
        slow = 2 * self.share * torch.from_numpy(course).float().view(-1, 1, 1, 1) * shift
        to_ed, to_es = heart.fields(phases, slow)
        grains, weights = self._grains(phases, to_ed[:1])
        anchors = (time.ed_frame, time.es_frame)
        own = [self.textures[k].grain - grains[t] for k, t in enumerate(anchors)]
        frames = np.zeros((len(phases), *shape), np.uint8)
        masks = np.zeros_like(frames)
        for t, phase in enumerate(map(float, phases)):
            if t in anchors and phase == anchors.index(t):
                frames[t], masks[t] = (each[int(phase)] for each in (heart.frames, heart.masks))
                continue
            grids = to_grid(to_ed[t : t + 1], shape), to_grid(to_es[t : t + 1], shape)
            masks[t] = heart.mask_at(phase, grids)
            own_grain = [self._by_blood(weights[:, t, k], self.blood[k]) * own[k] for k in (0, 1)]
            used = [float(weights[:, t, k].max()) > MIN_WEIGHT for k in (0, 1)]
            picture = self._picture(phase, grids, own_grain, used, grains[t])
            picture += LEVEL_PER_SHIFT * self.share * float(course[t]) * level
            grey = to_grey(picture).round().clamp(0, 255).numpy()
            frames[t] = grey.astype(np.uint8) * self.area.sector
        return frames, masks

    def _picture(
        self,
        phase: float,
        grids: tuple[Tensor, Tensor],
        own_grain: list[Tensor],
        used: list[bool],
        grain: Tensor,
    ) -> Tensor:
        """The log picture `H W` at a phase: both stills' bases and own grain, and new grain."""
        fade = float(np.clip((phase - FADE[0]) / (FADE[1] - FADE[0]), 0, 1))
        fade *= fade * (3 - 2 * fade)
        fade = float(np.round(fade)) if min(fade, 1 - fade) < MIN_WEIGHT else fade
        base, amplitude = torch.zeros(()), torch.zeros(())
        for k, share in ((0, 1 - fade), (1, fade)):
            if not share and not used[k]:
                continue
            texture = self.textures[k]
            moved = pull(torch.stack([texture.base, texture.amplitude, own_grain[k]]), grids[k])
            base, amplitude = base + share * moved[0], amplitude + share * moved[1]
            grain = grain + moved[2]
        return base + amplitude * grain

    def _grains(self, phases: np.ndarray, to_ed: Tensor) -> tuple[list[Tensor], np.ndarray]:
        """New grain of each frame, carried by the motion from frame to frame.

        Returns:
            `T` grains `H W`, and the weights, (tissue, blood) x `T` x (ED, ES), with which the
            stills' own grain replaces it around them.
        """
        shape = self.heart.shape
        source = GrainSource(self.textures[0].grain, self.rng)
        steps = torch.from_numpy(np.diff(phases, prepend=phases[:1]).astype(np.float32))
        fields = flow(self.heart.velocity[None], -steps)
        blood = pull(self.blood[0][None], to_grid(to_ed, shape))[0]
        grains = [source.draw()]
        for step, field in zip(steps[1:].tolist(), fields[1:], strict=True):
            grain = grains[-1]
            if abs(step) > MIN_STEP:
                grain, blood = pull(torch.stack([grain, blood]), to_grid(field[None], shape))
                grain = grain / grain.std()  # sampling between pixels smooths
            rho = self._by_blood(np.array(self.rhos), blood)
            grains.append(rho * grain + (1 - rho**2).sqrt() * source.draw())
        anchors = (self.time.ed_frame, self.time.es_frame)
        return grains, np.stack([bridge(rho, len(grains), anchors) for rho in self.rhos])

    def _by_blood(self, values: np.ndarray, blood: Tensor) -> Tensor:
        """A map `H W` with one value in tissue and another in blood."""
        tissue, in_blood = map(float, values)
        return tissue + (in_blood - tissue) * blood

    def _slow_course(self) -> np.ndarray:
        """Course of the through-plane change, `T`; 0 at the annotated ED and ES."""
        times_s, ends = self.time.times_s, [self.time.ed_frame, self.time.es_frame]
        course = np.zeros(len(times_s))
        for _ in range(2):
            period_s, start = self.rng.uniform(*SLOW_PERIODS_S), self.rng.uniform(0, 2 * np.pi)
            course += np.sin(2 * np.pi * times_s / period_s + start) / 2
        return course - np.interp(times_s, times_s[ends], course[ends])


def _blood(texture: Texture, mask: np.ndarray) -> Tensor:
    """Share of blood, `H W`: the labeled cavities, and elsewhere what is as dark as the LV's."""
    cavities = np.isin(mask, (Label.LV_CAVITY, Label.LA_CAVITY))
    wall = mask == Label.LV_MYOCARDIUM
    base = texture.base.numpy()
    limit = (base[cavities].mean() + base[wall if wall.any() else ~cavities].mean()) / 2
    blood = cavities | ((mask == Label.BACKGROUND) & (base < limit))
    return smooth(torch.from_numpy(blood).float()[None], 2.0)[0]
