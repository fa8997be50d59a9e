"""The volume curve as SVG: one drawing for the page, the PDF and `curve.svg`.

Colors are attributes, which the page's style replaces in dark mode; nothing of a file's text is in
the drawing.
"""

import math
import textwrap
from html import escape
from itertools import groupby

import numpy as np

from echoseg.clip import Ecg
from echoseg.inference.analysis import Analysis
from echoseg.measure.measurement import Measurement
from echoseg.report.figures.curve import curve_values, phase_marks
from echoseg.report.html import keep_units, plain_words
from echoseg.report.schema import DISCLAIMER

WIDTH, HEIGHT = 760, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 746, 30, 232
_LV, _ED, _ES, _INK, _DIM, _GRID = "#c2500f", "#8a6400", "#6f47b8", "#17202a", "#5d6b7a", "#e3e8ee"
_ECG = "#2a7f62"
_STEPS = (1, 2, 2.5, 5, 10)
_LINE_PX = 15


class _Plot:
    """Places of a clip's volumes in the drawing."""

    def __init__(self, analysis: Analysis) -> None:
        measurement, times = analysis.measurement, analysis.clip.times_s
        self.measurement = measurement
        self.has_times = times is not None
        self.frames, self.curve = curve_values(measurement)
        self.times = np.arange(len(self.frames), dtype=float) if times is None else times
        self.top = 1.12 * max(float(np.nanmax(np.append(self.frames, 0.0))), 1e-9)
        self.is_empty = not np.isfinite(self.frames).any()

    def x(self, time: float) -> float:
        """Place of a time, or without times of a frame."""
        first, span = self.times[0], max(float(self.times[-1] - self.times[0]), 1e-9)
        return _LEFT + 8 + (_RIGHT - _LEFT - 16) * float(time - first) / span

    def y(self, volume: float) -> float:
        """Place of a volume, in ml or as a fraction."""
        return _BOTTOM - (_BOTTOM - _TOP) * volume / self.top

    def point(self, frame: int) -> str:
        """Place of a frame on the curve."""
        return f"{self.x(self.times[frame]):.1f},{self.y(self.curve[frame]):.1f}"


def curve_svg(analysis: Analysis, *, alone: bool = False) -> str:
    """Draw single frames, the curve, every beat's ED and ES, R waves and ECG where known.

    Beats left out of the mean are dim. The band over the beat shown is the interval of the EF, as
    the ES volumes that it means for the ED volume measured; a single volume has no interval.

    Args:
        analysis: The analysis.
        alone: For a file of its own, with the EF and the disclaimer above.
    """
    plot, head = _Plot(analysis), _head(analysis) if alone else []
    extra, interval = _LINE_PX * len(head), _interval(plot, analysis)
    texts = (
        f'<text x="10" y="{-extra - 2 + _LINE_PX * row}" font-size="12" fill="{_INK}">'
        f"{escape(line)}</text>"
        for row, line in enumerate(head, 1)
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 {-extra} {WIDTH} {HEIGHT + extra}" '
        f'role="img" aria-label="{escape(describe(analysis))}" font-family="DejaVu Sans, '
        f'sans-serif" data-x="{" ".join(f"{plot.x(time):.1f}" for time in plot.times)}">',
        f'<rect class="paper" y="{-extra}" width="{WIDTH}" height="{HEIGHT + extra}" fill="#fff"/>',
        *texts,
        *_axes(plot),
        *_ecg(plot, analysis.clip.ecg if plot.has_times else None),
        *_r_waves(plot, analysis.clip.r_wave_times_s if plot.has_times else ()),
        *interval,
        *_dots(plot),
        *_lines(plot),
        *_marks(plot, bool(interval)),
        f'<line class="now" x1="-9" x2="-9" y1="{_TOP}" y2="{_BOTTOM}" stroke="{_INK}"/>',
        "</svg>\n",
    ]
    return "\n".join(parts)


def describe(analysis: Analysis) -> str:
    """The curve in words, for who cannot see it."""
    measurement = analysis.measurement
    beats = [
        f"beat {number}: ED frame {beat.ed_frame}, ES frame {beat.es_frame}"
        for number, beat in enumerate(measurement.beats, 1)
    ]
    marked = (measurement.ed_frame, measurement.es_frame)
    if not beats and None not in marked:
        beats = ["ED frame {}, ES frame {}".format(*marked)]
    return f"LV volume over time, {analysis.ef.text}. {'; '.join(beats) or 'No beat is marked'}."


def _head(analysis: Analysis) -> list[str]:
    ef = analysis.ef
    text = f"{ef.text}. {keep_units(plain_words(ef.detail))}"
    lines = textwrap.wrap(text, 95, max_lines=4, placeholder=" ...")
    count = len(analysis.warnings)
    return [*lines, f"{DISCLAIMER} {count} warning{'s' * (count != 1)}, see the report."]


def ticks(low: float, high: float, number: int) -> list[float]:
    """Round values from `low` to `high`, about `number` of them."""
    span = max(high - low, 1e-9)
    size = 10 ** math.floor(math.log10(span / number))
    step = next(size * one for one in _STEPS if span / (size * one) <= number)
    first = math.ceil(low / step - 1e-9)
    return [step * index for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _axes(plot: _Plot) -> list[str]:
    scaled = plot.measurement.spacing_mm is not None
    title = "LV volume (ml)" if scaled else "LV volume, share of the largest (no scale)"
    parts = [f'<text class="axis" x="10" y="16" font-size="12" fill="{_DIM}">{title}</text>']
    for value in ticks(0, plot.top, 5):
        y, text = plot.y(value), "" if plot.is_empty else f"{value:g}"
        parts.append(
            f'<path class="grid" d="M{_LEFT} {y:.1f}H{_RIGHT}" stroke="{_GRID}"/>'
            f'<text class="axis" x="{_LEFT - 6}" y="{y + 4:.1f}" font-size="12" fill="{_DIM}" '
            f'text-anchor="end">{text}</text>'
        )
    for value in ticks(float(plot.times[0]), float(plot.times[-1]), 7):
        text = f"{value:g} s" if plot.has_times else f"{value:g}"
        parts.append(
            f'<text class="axis" x="{plot.x(value):.1f}" y="{_BOTTOM + 26}" font-size="12" '
            f'fill="{_DIM}" text-anchor="middle">{text}</text>'
        )
    return parts


def _ecg(plot: _Plot, ecg: Ecg | None) -> list[str]:
    """An ECG without a scale along the bottom, the part of it during the clip."""
    if ecg is None:
        return []
    inside = (ecg.times_s >= plot.times[0]) & (ecg.times_s <= plot.times[-1])
    times, values = ecg.times_s[inside], ecg.values[inside]
    if len(times) < 2:
        return []
    heights = (values - values.min()) / max(float(np.ptp(values)), 1e-12)
    points = (
        f"{plot.x(t):.1f},{_BOTTOM - 4 - 26 * h:.1f}" for t, h in zip(times, heights, strict=True)
    )
    return [
        f'<polyline class="ecg" points="{" ".join(points)}" fill="none" stroke="{_ECG}" '
        'stroke-width="1"/>'
    ]


def _r_waves(plot: _Plot, times_s: tuple[float, ...]) -> list[str]:
    inside = (time for time in times_s if plot.times[0] <= time <= plot.times[-1])
    return [
        f'<path class="r" d="M{plot.x(time):.1f} {_TOP}V{_BOTTOM}" stroke="{_DIM}" '
        f'stroke-dasharray="2 3"/><text class="axis" x="{plot.x(time) + 3:.1f}" '
        f'y="{_BOTTOM - 4}" font-size="11" fill="{_DIM}">R</text>'
        for time in inside
    ]


def _dots(plot: _Plot) -> list[str]:
    known = np.flatnonzero(np.isfinite(plot.frames))
    path = "".join(
        f"M{plot.x(plot.times[i]):.1f} {plot.y(plot.frames[i]):.1f}h0" for i in known.tolist()
    )
    return [
        f'<path class="dots" d="{path}" stroke="{_LV}" stroke-width="4" stroke-linecap="round" '
        'opacity=".45"/>'
    ]


def left_out_frames(measurement: Measurement) -> set[int]:
    """Frames of the beats that are not in the mean, each from its ED up to the next."""
    beats, last = measurement.beats, len(measurement.frames)
    ends = (*(beat.ed_frame for beat in beats[1:]), last)
    parts = (range(b.ed_frame, end) for b, end in zip(beats, ends, strict=False) if b.left_out)
    return {frame for part in parts for frame in part}


def _lines(plot: _Plot) -> list[str]:
    """The curve, broken where no frame has a volume, dim where a beat is left out."""
    out = left_out_frames(plot.measurement)
    known = np.isfinite(plot.curve)
    kinds = groupby(range(len(known)), lambda i: (bool(known[i]), i in out))
    parts = []
    for (is_known, is_out), group in kinds:
        frames = list(group)
        if is_known and frames[-1] + 1 < len(known) and known[frames[-1] + 1]:
            frames.append(frames[-1] + 1)
        if is_known and len(frames) > 1:
            style = ' opacity=".35"' if is_out else ""
            parts.append(
                f'<polyline class="lv" points="{" ".join(map(plot.point, frames))}" fill="none" '
                f'stroke="{_LV}" stroke-width="2.2" stroke-linejoin="round"{style}/>'
            )
    return parts


def _interval(plot: _Plot, analysis: Analysis) -> list[str]:
    """A band over the beat shown, a whisker at its ES, and what they are."""
    ef, ed, es = analysis.ef, plot.measurement.ed_frame, plot.measurement.es_frame
    if ef.kind != "plain" or ef.interval is None or ed is None or es is None:
        return []
    limits = ef.interval.low_percent, ef.interval.high_percent
    top, bottom = (plot.y(plot.curve[ed] * (1 - percent / 100)) for percent in limits)
    later = [beat.ed_frame for beat in plot.measurement.beats if beat.ed_frame > max(ed, es)]
    end = min(later, default=len(plot.times) - 1)
    left, right, x = (plot.x(plot.times[frame]) for frame in (min(ed, es), end, es))
    text = "shaded: ES volume by the interval of the EF"
    return [
        f'<rect class="interval" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
        f'height="{max(1.0, bottom - top):.1f}" fill="{_ES}" opacity=".13"/>'
        f'<path class="whisker" d="M{x:.1f} {top:.1f}V{bottom:.1f}M{x - 6:.1f} {top:.1f}h12'
        f'M{x - 6:.1f} {bottom:.1f}h12" fill="none" stroke="{_ES}" stroke-width="1.6" '
        f'opacity=".75"/><text class="axis" x="{_RIGHT}" y="16" font-size="12" fill="{_DIM}" '
        f'text-anchor="end">{text}</text>'
    ]


def _marks(plot: _Plot, has_whisker: bool) -> list[str]:
    """ED and ES of every beat; hollow and dim if it is left out, the marked beat's with its frame.

    A name near the edge of the drawing is written inwards, one at the whisker beside it.
    """
    measurement, parts = plot.measurement, []
    named = (measurement.ed_frame, measurement.es_frame)
    out = {f for beat in measurement.beats if beat.left_out for f in (beat.ed_frame, beat.es_frame)}
    for frame, name in phase_marks(measurement).items():
        if not np.isfinite(plot.curve[frame]):
            continue
        x, y = plot.x(plot.times[frame]), plot.y(plot.curve[frame])
        color, dy = (_ED, -10) if name == "ED" else (_ES, 20)
        is_named, share = frame in named, (x - _LEFT) / (_RIGHT - _LEFT)
        anchor = "start" if share < 0.1 else "end" if share > 0.9 else "middle"
        dx = 0
        if has_whisker and frame == measurement.es_frame:
            anchor, dx = ("end", -10) if share > 0.5 else ("start", 10)
        more = f'<tspan class="more">, frame {frame}</tspan>' if is_named else ""
        fill = f'fill="none" stroke="{color}"' if frame in out else f'fill="{color}"'
        dim = ' opacity=".55"' if frame in out else ""
        parts.append(
            f'<g class="{name.lower()}"{dim}><circle cx="{x:.1f}" cy="{y:.1f}" '
            f'r="{5 if is_named else 3.6}" {fill}/><text x="{x + dx:.1f}" y="{y + dy:.1f}" '
            f'font-size="12" font-weight="{"bold" if is_named else "normal"}" fill="{color}" '
            f'text-anchor="{anchor}">{name}{more}</text></g>'
        )
    return parts
