"""Figures of the experiments: accuracy against the labeled fraction, and against speed."""

import statistics
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from experiments.model_bench import Speed
from experiments.summary import MEAN

COLOURS = (
    "#d9601a", "#2f6fb0", "#3a8f4d", "#7b4fc4", "#a87900", "#c23b6b", "#4a9c9c", "#666666",
    "#8a5a2b", "#9aa83a",
)  # fmt: skip
OURS, OTHERS = COLOURS[:2]


def curve_png(summary: dict[str, Any]) -> bytes:
    """PNG of a label-efficiency experiment, one panel per structure of the first evaluation set.

    Lines are means over seeds and items, bars 95 % intervals over patients; the dotted line is
    full supervision.
    """
    first = summary["experiment"]["eval_sets"][0]
    scores = [s for s in summary["scores"] if s["group"] == "all" and s["eval_set"] == first]
    names = [n for n in dict.fromkeys(s["structure"] for s in scores) if n != MEAN]
    figure, panels = _panels(len(names), 4.2 * len(names), 4)
    for axes, name in zip(panels, names, strict=True):
        _curves(axes, [score for score in scores if score["structure"] == name])
        axes.set_title(name, fontsize=11, loc="left")
        axes.set_xlabel("labeled patients")
        axes.set_ylabel("Dice")
    panels[-1].legend(fontsize=8, frameon=False, loc="lower right")
    return _png(figure)


def _curves(axes: Any, scores: list[dict[str, Any]]) -> None:
    methods = list(dict.fromkeys(score["row"] for score in scores))
    fractions = sorted({float(score["column"]) for score in scores})
    zero = 100 / 3 * min((f for f in fractions if f), default=1.0)  # of a logarithmic axis
    for index, method in enumerate(methods):
        own = sorted(
            (s for s in scores if s["row"] == method), key=lambda score: float(score["column"])
        )
        colour = COLOURS[index % len(COLOURS)]
        # shifted sideways, so that the intervals do not overlap
        shift = 1.03 ** (index - (len(methods) - 1) / 2)
        x = [(100 * float(s["column"]) or zero) * shift for s in own]
        axes.plot(x, [s["dice"] for s in own], "o-", color=colour, label=method, markersize=4)
        for at, score in zip(x, own, strict=True):
            if score["ci95"]:
                axes.plot([at, at], score["ci95"], color=colour, alpha=0.45, linewidth=1.5)
    full = [s["dice"] for s in scores if s["row"] == "supervised" and float(s["column"]) == 1]
    if full:
        axes.axhline(full[0], color="#444", linestyle=":", linewidth=1)
    axes.set_xscale("log")
    axes.set_xticks([100 * f or zero for f in fractions], [f"{100 * f:g} %" for f in fractions])
    axes.minorticks_off()


def bench_png(summary: dict[str, Any], speed: Speed) -> bytes:
    """PNG of a benchmark, one panel per evaluation set.

    A network is a numbered point: frames per second at 112 px (256 px where 112 px is not
    possible), streaming (hollow: whole clips only), and the Dice of the LV cavity with its 95 %
    interval over patients. A triangle at the lower edge lies far below the others.
    """
    from matplotlib.lines import Line2D

    names = list(dict.fromkeys(cost["row"] for cost in summary["costs"]))
    eval_sets = summary["experiment"]["eval_sets"]
    figure, panels = _panels(len(eval_sets), 4.6 * len(eval_sets) + 2.2, 4.4)
    for axes, eval_set in zip(panels, eval_sets, strict=True):
        scores = {
            score["row"]: score
            for score in summary["scores"]
            if (score["eval_set"], score["group"], score["structure"])
            == (eval_set, "all", "lv_endo")
        }
        lower = _lower_edge([score["dice"] for score in scores.values()])
        for number, name in enumerate(names, 1):
            if name in scores:
                _point(axes, speed.networks.get(name, {}), scores[name], number, lower)
        place = eval_set if eval_set.startswith("phantom") else Path(eval_set).name
        axes.set_title(place, fontsize=11, loc="left")
        axes.set_xscale("log")
        axes.set_ylim(bottom=lower - 0.004)
        axes.set_xlabel("frames per second")
        axes.set_ylabel("Dice, LV cavity")
    labels = [f"{number}  {name}" for number, name in enumerate(names, 1)]
    handles = [Line2D([], [], linestyle="", label=label) for label in labels]
    legend = figure.legend(
        handles=handles, loc="outside right upper", fontsize=8, frameon=False, handlelength=0
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_color(_colour(name))
    return _png(figure)


def _lower_edge(dice: Sequence[float]) -> float:
    """The lowest Dice that is drawn to scale: well below the median."""
    if not dice:
        return 0.0
    best = max(dice)
    return max(min(dice), best - max(0.08, 4 * (best - statistics.median(dice))))


def _colour(name: str) -> str:
    return OURS if name.startswith("mssnet") else OTHERS


def rate_of(values: dict[str, int | float]) -> tuple[float | None, bool]:
    """A network's frames per second, and whether it is streaming."""
    for size in (112, 256):
        for mode in ("streaming", "batched"):
            if (rate := values.get(f"{mode} {size} frames/s")) is not None:
                return rate, mode == "streaming"
    return None, False


def _point(
    axes: Any, values: dict[str, int | float], score: dict[str, Any], number: int, lower: float
) -> None:
    rate, streams = rate_of(values)
    if rate is None:
        return
    colour, dice = _colour(score["row"]), score["dice"]
    inside = dice >= lower
    if inside and score["ci95"]:
        axes.plot([rate, rate], score["ci95"], color=colour, alpha=0.3, linewidth=1.2)
    axes.plot(
        rate, max(dice, lower), "o" if inside else "v", color=colour,
        markerfacecolor=colour if streams else "white", markersize=6,
    )  # fmt: skip
    axes.annotate(
        str(number) if inside else f"{number}: {dice:.2f}", (rate, max(dice, lower)),
        xytext=(4, 3), textcoords="offset points", fontsize=8, color=colour,
    )  # fmt: skip


def _panels(number: int, width: float, height: float) -> tuple[Any, Sequence[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, number, squeeze=False)[0]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, which="both")
    return figure, panels


def _png(figure: Any) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
