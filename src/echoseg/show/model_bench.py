"""Accuracy against speed as a picture, one panel a judge."""

from io import BytesIO
from pathlib import Path
from typing import Any

_COLOUR, _OURS = "#2f6fb0", "#d9601a"


def accuracy_speed_png(told: dict[str, Any]) -> bytes:
    """Return the picture of what `learn.bench_table.summary` says, as the bytes of a PNG.

    A network is a point: frames a second at 112 px, streamed (hollow: only by whole clips), and the
    Dice of its LV cavity with its 95 % interval over patients. One that takes no 112 px stands at
    its rate at 256 px.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    judges = told["bench"]["judges"]
    figure = Figure(figsize=(5.4 * len(judges), 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(judges), squeeze=False)[0]
    for index, (axes, judge) in enumerate(zip(panels, judges, strict=True)):
        for row in told["rows"]:
            _point(axes, row, row["judged"][index]["groups"]["all"].get("lv_endo"))
        place = judge if judge.startswith("phantom") else Path(judge).name
        axes.set_title(place, fontsize=11, loc="left")
        axes.set_xscale("log")
        axes.set_xlabel("frames a second")
        axes.set_ylabel("Dice, LV cavity")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, which="both")
        axes.margins(x=0.18, y=0.1)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def speed_of(row: dict[str, Any]) -> tuple[float | None, bool]:
    """Return a network's frames a second, and whether it is streamed."""
    for size in (112, 256):
        for how in ("streaming", "batched"):
            if (rate := row["speed"].get(f"{how} {size} frames/s")) is not None:
                return rate, how == "streaming"
    return None, False


def _point(axes: Any, row: dict[str, Any], score: dict[str, Any] | None) -> None:
    rate, streams = speed_of(row)
    if rate is None or score is None:
        return
    colour = _OURS if row["model"].startswith("mssnet") else _COLOUR
    if score["ci95"]:
        axes.plot([rate, rate], score["ci95"], color=colour, alpha=0.4, linewidth=1.5)
    face = colour if streams else "white"
    axes.plot(rate, score["dice"], "o", color=colour, markerfacecolor=face, markersize=7)
    axes.annotate(
        row["model"], (rate, score["dice"]), xytext=(5, 4), textcoords="offset points", fontsize=8,
        color=colour,
    )  # fmt: skip
