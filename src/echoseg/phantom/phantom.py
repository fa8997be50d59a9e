"""One clip of the phantom: a heart, a view of it, its film and the truth about it."""

import math
from functools import cached_property

import numpy as np

from echoseg.clip import Label
from echoseg.phantom.chambers import Standpoint, show
from echoseg.phantom.config import PhantomConfig
from echoseg.phantom.film import Film
from echoseg.phantom.heart import Heart
from echoseg.phantom.kernels import fill
from echoseg.phantom.overlay import Overlay, draw_overlay
from echoseg.phantom.rhythm import Beats
from echoseg.phantom.truth import Truth, disk_volumes_ml, long_axis_of, whole_beats

FRAME_RATES_HZ = (30.0, 40.0, 50.0, 50.0, 60.0, 75.0)
_CONTEXT_S = 1.0
"""Beats are drawn for at least so long, so that short and long clips share them."""


class Phantom:
    """A clip to be: the heart of a seed, seen in a view.

    Example:
        >>> phantom = Phantom(PhantomConfig(seed=3, num_frames=16))
        >>> phantom.frames().shape
        (16, 160, 160)

    Raises:
        ConfigError: If the heart cannot reach the ejection fraction asked for.
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
        self.standpoint = Standpoint.draw(
            config.generator("stand"), self.heart, config.view, strength
        )
        self.seen = show(self.heart, self.standpoint, self.times_s, config.generator("chamber"))
        self.contraction = self.beats.contraction(self.times_s)

    @cached_property
    def film(self) -> Film:
        """The film of it, levels set."""
        amplitude, rate_hz, phase = self.standpoint.breath
        breath = amplitude * np.sin(2 * math.pi * rate_hz * self.times_s + phase)
        marks = self.heart.landmarks
        deepest = float(self.seen.endo_mm[..., 1].max())
        depth_mm = float(np.clip(marks.depth_mm, max(95.0, deepest + 15), 240))
        return Film(self.config, self.seen, self.times_s, self.contraction, breath, depth_mm)

    def frames(self) -> np.ndarray:
        """Return the pictures, `T H W` uint8."""
        frames = self.film.frames()
        if not self.config.overlay:
            return frames
        overlay = Overlay.draw(self.config.generator("overlay"), self.config.style)
        return draw_overlay(frames, overlay, self.film.sector, self.beats, self.times_s)

    def masks(self) -> np.ndarray:
        """Return the labels, `T H W` uint8.

        As in CAMUS they go on where the sector's edge cuts the heart, for a reader draws the whole
        ventricle, but not out of the box about the sector, where CAMUS's pictures end.
        """
        sector, size = self.film.sector, self.config.size_px
        masks = np.zeros((self.config.num_frames, size, size), np.uint8)
        seen = self.seen
        for index, mask in enumerate(masks):
            ring = np.concatenate([seen.endo_mm[index], seen.epi_mm[index, ::-1]])
            for line, label in (
                (seen.atrium_mm[index], Label.LA_CAVITY),
                (ring, Label.LV_MYOCARDIUM),
                (seen.endo_mm[index], Label.LV_CAVITY),
            ):
                # rounded, so that another machine's last digit moves no pixel
                x, y = np.round(sector.to_px(line), 4).T
                fill(np.ascontiguousarray(y), np.ascontiguousarray(x), int(label), mask)
            mask[~sector.box] = Label.BACKGROUND
        return masks

    def truth(self) -> Truth:
        """Return all that is true of the clip."""
        endo, sector = self.seen.endo_mm, self.film.sector
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
            epi_mm=self.seen.epi_mm,
            hinges_px=sector.to_px(endo[:, [0, -1]]),
            apex_px=sector.to_px(np.stack([long_axis_of(line).apex_mm for line in endo])),
            foreshortening_deg=math.degrees(self.standpoint.foreshortening_rad),
            spacing_mm=(sector.spacing_mm, sector.spacing_mm),
        )
