"""One simulated clip: heart, view, frames and ground truth."""

import math
from functools import cached_property

import numpy as np

from echoseg.clip import Label
from echoseg.phantom.chambers import ProbePose, section_of
from echoseg.phantom.config import PhantomConfig
from echoseg.phantom.heart import Heart
from echoseg.phantom.kernels import fill
from echoseg.phantom.overlay import Overlay, draw_overlay
from echoseg.phantom.rhythm import Beats
from echoseg.phantom.simulator import Simulator
from echoseg.phantom.truth import Truth, disk_volumes_ml, long_axis_of, whole_beats

FRAME_RATES_HZ = (30.0, 40.0, 50.0, 50.0, 60.0, 75.0)
_CONTEXT_S = 1.0
"""Beats are drawn for at least this time, so that short and long clips share them."""


class Phantom:
    """A clip to simulate: the heart of a seed in one view.

    Examples:
        >>> phantom = Phantom(PhantomConfig(seed=3, num_frames=16))
        >>> phantom.frames().shape
        (16, 160, 160)

    Raises:
        ConfigError: The heart cannot reach the requested ejection fraction.
    """

    def __init__(self, config: PhantomConfig) -> None:
        self.config = config
        rng = config.generator("rhythm")
        drawn_hz = float(rng.choice(FRAME_RATES_HZ))
        self.frame_rate_hz = config.frame_rate_hz or drawn_hz
        self.times_s = np.arange(config.num_frames) / self.frame_rate_hz
        duration_s = max(config.num_frames / self.frame_rate_hz, _CONTEXT_S)
        self.beats = Beats.draw(rng, config.rhythm, duration_s)
        self.heart = Heart(
            config.generator("anatomy"), self.beats, config.phenotype, config.ef_percent
        )
        strength = config.tier.strength
        self.probe_pose = ProbePose.draw(
            config.generator("stand"), self.heart, config.view, strength
        )
        self.section = section_of(
            self.heart, self.probe_pose, self.times_s, config.generator("chamber")
        )
        self.contraction = self.beats.contraction(self.times_s)

    @cached_property
    def simulator(self) -> Simulator:
        """The image simulator of this clip."""
        amplitude, rate_hz, phase = self.probe_pose.breath
        breath = amplitude * np.sin(2 * math.pi * rate_hz * self.times_s + phase)
        marks = self.heart.landmarks
        deepest = float(self.section.endo_mm[..., 1].max())
        depth_mm = float(np.clip(marks.depth_mm, max(95.0, deepest + 15), 240))
        return Simulator(
            self.config, self.section, self.times_s, self.contraction, breath, depth_mm
        )

    def frames(self) -> np.ndarray:
        """Simulate the frames, `T H W` uint8."""
        frames = self.simulator.frames()
        if not self.config.overlay:
            return frames
        overlay = Overlay.draw(self.config.generator("overlay"), self.config.style)
        return draw_overlay(frames, overlay, self.simulator.sector, self.beats, self.times_s)

    def masks(self) -> np.ndarray:
        """Label maps, `T H W` uint8.

        As in CAMUS, labels continue beyond the sector's edge, because readers trace the whole
        ventricle, but end at the bounding box of the sector, where CAMUS images end.
        """
        sector, size = self.simulator.sector, self.config.size_px
        masks = np.zeros((self.config.num_frames, size, size), np.uint8)
        section = self.section
        for index, mask in enumerate(masks):
            ring = np.concatenate([section.endo_mm[index], section.epi_mm[index, ::-1]])
            for line, label in (
                (section.atrium_mm[index], Label.LA_CAVITY),
                (ring, Label.LV_MYOCARDIUM),
                (section.endo_mm[index], Label.LV_CAVITY),
            ):
                # rounded, so that floating-point differences between machines move no pixel
                x, y = np.round(sector.to_px(line), 4).T
                fill(np.ascontiguousarray(y), np.ascontiguousarray(x), int(label), mask)
            mask[~sector.box] = Label.BACKGROUND
        return masks

    def truth(self) -> Truth:
        """Ground truth of the clip."""
        endo, sector = self.section.endo_mm, self.simulator.sector
        volume_ml = self.heart.volume_ml(self.times_s)
        ed_frame, es_frame = int(volume_ml.argmax()), int(volume_ml.argmin())
        beat_index = self.beats.index(self.times_s)
        length = np.linalg.norm(np.diff(endo, axis=1), axis=-1).sum(1)
        return Truth(
            masks=self.masks(),
            volume_ml=volume_ml,
            contraction=self.contraction,
            disk_volume_ml=disk_volumes_ml(endo),
            beats=whole_beats(volume_ml, beat_index, self.times_s, self.beats.r_peaks_s),
            beat_index=beat_index,
            r_peaks_s=self.beats.r_peaks_s,
            premature=self.beats.premature,
            times_s=self.times_s,
            ed_frame=ed_frame,
            es_frame=es_frame,
            ef_percent=float(100 * (1 - volume_ml[es_frame] / volume_ml[ed_frame])),
            strain_percent=100 * (length / length[ed_frame] - 1),
            endo_mm=endo,
            epi_mm=self.section.epi_mm,
            hinges_px=sector.to_px(endo[:, [0, -1]]),
            apex_px=sector.to_px(np.stack([long_axis_of(line).apex_mm for line in endo])),
            foreshortening_deg=math.degrees(self.probe_pose.foreshortening_rad),
            spacing_mm=(sector.spacing_mm, sector.spacing_mm),
        )
