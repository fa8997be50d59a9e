"""The volume curve of a clip as a figure."""

import textwrap
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from echoseg.inference.analysis import Analysis
from echoseg.report.schema import DISCLAIMER

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def curve_figure(analysis: Analysis) -> "Figure":
    """The volume curve with ED and ES marked, without pyplot state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    draw_curve(axes, analysis)
    count = len(analysis.warnings)
    axes.set_title(
        f"{count} warning{'s' * (count != 1)}, see the report", loc="right", fontsize=9,
        color="#8a4b00" if count else "#666",
    )  # fmt: skip
    figure.text(0.995, 0.005, DISCLAIMER, ha="right", va="bottom", fontsize=7, color="#666")
    return figure


def curve_png(analysis: Analysis) -> bytes:
    """The same figure as PNG bytes; equal analyses give equal bytes."""
    buffer = BytesIO()
    curve_figure(analysis).savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def draw_curve(axes: Any, analysis: Analysis) -> None:
    """Draw the curve with ED and ES marked onto matplotlib axes."""
    measurement = analysis.measurement
    scaled = measurement.spacing_mm is not None
    volumes = [f.volume_ml if scaled else f.relative_volume for f in measurement.frames]
    values = np.array([np.nan if volume is None else volume for volume in volumes], float)
    times = analysis.clip.times_s
    x = np.arange(len(values)) if times is None else np.asarray(times)
    axes.plot(x, values, color="#d9601a", linewidth=2, marker=".", markersize=5)
    for name, frame, colour, offset, place in (
        ("ED", measurement.ed_frame, "#a87900", 9, "bottom"),
        ("ES", measurement.es_frame, "#7b4fc4", -9, "top"),
    ):
        if frame is not None:
            axes.plot(x[frame], values[frame], "o", color=colour, markersize=9)
            share = (x[frame] - x[0]) / max(x[-1] - x[0], 1e-9)
            mark = axes.annotate(
                f"{name}, frame {frame}", (x[frame], values[frame]), xytext=(0, offset),
                textcoords="offset points", color=colour, fontweight="bold", va=place,
                ha="left" if share < 0.15 else "right" if share > 0.85 else "center",
            )  # fmt: skip
            mark.set_in_layout(False)  # or a long word at the edge shrinks the plot
    top = np.nanmax(values) if np.isfinite(values).any() else 1.0
    axes.set_ylim(0, 1.18 * top)
    axes.set_xlabel("frame" if times is None else "time (s)")
    axes.set_ylabel("LV volume (ml)" if scaled else "relative LV volume")
    colour = "#777" if analysis.ef_reliable is False else "black"
    title = f"{analysis.ef_text}   (single plane, disks)"
    axes.set_title(title, loc="left", fontsize=11, color=colour)
    if len(x) > 1:
        axes.set_xlim(x[0] - 0.03 * (x[-1] - x[0]), x[-1] + 0.03 * (x[-1] - x[0]))
    if not np.isfinite(values).any():
        axes.set_yticks([])
    if measurement.refusal:
        text = "\n".join(textwrap.wrap(f"no EF: {measurement.refusal}", 70))
        paper = {"facecolor": "white", "edgecolor": "#8a4b00", "boxstyle": "round,pad=0.5"}
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center",
                  color="#8a4b00", bbox=paper, parse_math=False)  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
