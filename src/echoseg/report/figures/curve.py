"""The volume curve of a clip as a matplotlib figure, for notebooks; pages have `curve_svg`."""

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from echoseg.clip import Ecg
from echoseg.inference.analysis import Analysis
from echoseg.measure.measurement import Measurement
from echoseg.report.html import plain_words
from echoseg.report.schema import DISCLAIMER

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_ALERT = "#8a4b00"
_ECG_HEIGHT = 0.12
"""Share of the plot's height."""


def phase_marks(measurement: Measurement) -> dict[int, str]:
    """`ED` or `ES` of each frame that is one: of every beat, and of the one that is shown."""
    marks = {}
    for beat in (*measurement.beats, measurement):
        marks |= {beat.ed_frame: "ED", beat.es_frame: "ES"}
    return {frame: name for frame, name in marks.items() if frame is not None}


def curve_values(measurement: Measurement) -> tuple[np.ndarray, np.ndarray]:
    """Volumes `(T,)` of single frames and of the curve that EF is read off, NaN where unknown.

    In ml, or without a pixel spacing as fractions of the clip's largest; without an EF both are
    those of single frames.
    """
    scaled = measurement.spacing_mm is not None
    values = _floats(f.volume_ml if scaled else f.relative_volume for f in measurement.frames)
    curve = _floats(f.smoothed_volume for f in measurement.frames)
    return values, np.where(np.isfinite(curve), curve, values)


def curve_figure(analysis: Analysis) -> "Figure":
    """The volume curve with ED and ES marked, without pyplot state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.6), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    draw_curve(axes, analysis)
    count = len(analysis.warnings)
    figure.get_layout_engine().set(rect=(0, 0.05, 1, 0.95))  # type: ignore[call-arg,union-attr]
    text = f"{count} warning{'s' * (count != 1)}, see the report. {DISCLAIMER}"
    figure.text(0.995, 0.005, text, ha="right", va="bottom", fontsize=7, color="#666")
    return figure


def draw_curve(axes: Any, analysis: Analysis) -> None:
    """Draw single frames, the curve that is read, and ED and ES of every beat onto axes."""
    measurement = analysis.measurement
    scaled = measurement.spacing_mm is not None
    values, curve = curve_values(measurement)
    times = analysis.clip.times_s
    x = np.arange(len(values)) if times is None else np.asarray(times)
    axes.plot(x, values, ".", color="#d9601a", markersize=5, alpha=0.6)
    axes.plot(x, curve, color="#d9601a", linewidth=2)
    _draw_marks(axes, measurement, x, curve)
    for time_s in analysis.clip.r_wave_times_s if times is not None else ():
        axes.axvline(time_s, color="#999", linewidth=0.8, linestyle=":")
        letter = axes.text(time_s, 0.01, "R", transform=axes.get_xaxis_transform(), color="#999")
        letter.set(clip_on=True, in_layout=False)  # one far outside would shrink the plot
    if times is not None and analysis.clip.ecg is not None:
        _draw_ecg(axes, analysis.clip.ecg)
    top = np.nanmax(values) if np.isfinite(values).any() else 1.0
    axes.set_ylim(0, 1.18 * top)
    axes.set_xlabel("frame" if times is None else "time (s)")
    axes.set_ylabel("LV volume (ml)" if scaled else "relative LV volume")
    _draw_title(axes, analysis)
    if len(x) > 1:
        axes.set_xlim(x[0] - 0.03 * (x[-1] - x[0]), x[-1] + 0.03 * (x[-1] - x[0]))
    if not np.isfinite(values).any():
        axes.set_yticks([])
    if measurement.refusal:
        text = _wrapped(f"no EF: {plain_words(measurement.refusal)}", 70, 8)
        paper = {"facecolor": "white", "edgecolor": _ALERT, "boxstyle": "round,pad=0.5"}
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center",
                  color=_ALERT, bbox=paper, parse_math=False)  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def _wrapped(text: str, max_letters: int, max_lines: int) -> str:
    """A text in lines, with dots where it goes on."""
    return textwrap.fill(text, max_letters, max_lines=max_lines, placeholder=" ...")


def _floats(values: Iterable[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], float)


def _draw_ecg(axes: Any, ecg: Ecg) -> None:
    """Draw an ECG without a scale along the bottom of the plot."""
    low, high = float(ecg.values.min()), float(ecg.values.max())
    height = 0.03 + _ECG_HEIGHT * (ecg.values - low) / (high - low)
    (line,) = axes.plot(
        ecg.times_s, height, transform=axes.get_xaxis_transform(), color="#2a7f62", linewidth=0.8,
        label="ECG", scaley=False,
    )  # fmt: skip
    line.set_in_layout(False)  # it may begin before the clip and end after it


def _draw_title(axes: Any, analysis: Analysis) -> None:
    """Write what may be stated of the EF, and below it interval and class, or the reason."""
    ef = analysis.ef
    lines = [f"{ef.text}   (single plane, disks)"]
    if ef.detail and not analysis.measurement.refusal:
        lines.append(_wrapped(plain_words(ef.detail), 86, 3))
    axes.set_title(
        "\n".join(lines), loc="left", fontsize=9.5, parse_math=False,
        color="black" if ef.kind == "plain" else _ALERT,
    )  # fmt: skip


def _draw_marks(axes: Any, measurement: Measurement, x: np.ndarray, y: np.ndarray) -> None:
    """Mark ED and ES of every beat, hollow if left out; those of the typical beat are named."""
    named = (measurement.ed_frame, measurement.es_frame)
    out = {f for beat in measurement.beats if beat.left_out for f in (beat.ed_frame, beat.es_frame)}
    for frame, name in phase_marks(measurement).items():
        colour, offset, place = {"ED": ("#a87900", 9, "bottom"), "ES": ("#7b4fc4", -9, "top")}[name]
        axes.plot(
            x[frame],
            y[frame],
            "o",
            color=colour,
            markersize=9 if frame in named else 6,
            fillstyle="none" if frame in out else "full",
        )
        share = (x[frame] - x[0]) / max(x[-1] - x[0], 1e-9)
        mark = axes.annotate(
            f"{name}, frame {frame}" if frame in named else name,
            (x[frame], y[frame]), xytext=(0, offset), textcoords="offset points", color=colour,
            fontweight="bold" if frame in named else "normal", va=place,
            ha="left" if share < 0.15 else "right" if share > 0.85 else "center",
        )  # fmt: skip
        mark.set_in_layout(False)  # or a long word at the edge shrinks the plot
