"""Accuracy against speed as a picture, one panel a judge."""

import statistics
from io import BytesIO
from pathlib import Path
from typing import Any

_COLOUR, _OURS = "#2f6fb0", "#d9601a"


def accuracy_speed_png(told: dict[str, Any]) -> bytes:
    """Return the picture of what `learn.bench_table.summary` says, as the bytes of a PNG.

    A network is a numbered point: frames a second at 112 px, streamed (hollow: only by whole
    clips), and the Dice of its LV cavity with its 95 % interval over patients. One that takes no
    112 px stands at its rate at 256 px; one that lies far below the others is a triangle at the
    lower edge, so that these can be told apart.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    judges = told["bench"]["judges"]
    figure = Figure(figsize=(4.6 * len(judges) + 2.2, 4.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(judges), squeeze=False)[0]
    for index, (axes, judge) in enumerate(zip(panels, judges, strict=True)):
        scores = [row["judged"][index]["groups"]["all"].get("lv_endo") for row in told["rows"]]
        low = _lower_edge([score["dice"] for score in scores if score])
        for number, (row, score) in enumerate(zip(told["rows"], scores, strict=True), 1):
            _point(axes, row, score, number, low)
        place = judge if judge.startswith("phantom") else Path(judge).name
        axes.set_title(place, fontsize=11, loc="left")
        axes.set_xscale("log")
        axes.set_ylim(bottom=low - 0.004)
        axes.set_xlabel("frames a second")
        axes.set_ylabel("Dice, LV cavity")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, which="both")
    names = [f"{number}  {row['model']}" for number, row in enumerate(told["rows"], 1)]
    keys = [Line2D([], [], linestyle="", label=name) for name in names]
    legend = figure.legend(
        handles=keys, loc="outside right upper", fontsize=8, frameon=False, handlelength=0
    )
    for text, row in zip(legend.get_texts(), told["rows"], strict=True):
        text.set_color(_colour(row))
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _lower_edge(dice: list[float]) -> float:
    """Return the least Dice that is shown to scale: well under the middle of the field."""
    if not dice:
        return 0.0
    best = max(dice)
    return max(min(dice), best - max(0.08, 4 * (best - statistics.median(dice))))


def _colour(row: dict[str, Any]) -> str:
    return _OURS if row["model"].startswith("mssnet") else _COLOUR


def speed_of(row: dict[str, Any]) -> tuple[float | None, bool]:
    """Return a network's frames a second, and whether it is streamed."""
    for size in (112, 256):
        for how in ("streaming", "batched"):
            if (rate := row["speed"].get(f"{how} {size} frames/s")) is not None:
                return rate, how == "streaming"
    return None, False


def _point(
    axes: Any, row: dict[str, Any], score: dict[str, Any] | None, number: int, low: float
) -> None:
    rate, streams = speed_of(row)
    if rate is None or score is None:
        return
    colour, dice = _colour(row), score["dice"]
    if dice >= low and score["ci95"]:
        axes.plot([rate, rate], score["ci95"], color=colour, alpha=0.3, linewidth=1.2)
    face = colour if streams else "white"
    marker = "o" if dice >= low else "v"
    axes.plot(rate, max(dice, low), marker, color=colour, markerfacecolor=face, markersize=6)
    said = str(number) if dice >= low else f"{number}: {dice:.2f}"
    axes.annotate(
        said, (rate, max(dice, low)), xytext=(4, 3), textcoords="offset points", fontsize=8,
        color=colour,
    )  # fmt: skip
