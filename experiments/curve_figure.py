"""Accuracy against the share of labelled patients as a picture, one panel a structure."""

from io import BytesIO
from typing import Any

_COLOURS = (
    "#d9601a", "#2f6fb0", "#3a8f4d", "#7b4fc4", "#a87900", "#c23b6b", "#4a9c9c", "#666666",
    "#8a5a2b", "#9aa83a",
)  # fmt: skip


def label_curve_png(told: dict[str, Any]) -> bytes:
    """Return the picture of what `learn.label_table.summary` says, as the bytes of a PNG.

    Lines are means over seeds and items, bands 95 % intervals over patients; the dotted line is
    full supervision.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scores = told["scores"]
    names = [n for n in dict.fromkeys(s["structure"] for s in scores) if n != "mean"]
    figure = Figure(figsize=(4.2 * max(len(names), 1), 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, max(len(names), 1), squeeze=False)[0]
    for axes, name in zip(panels, names, strict=False):
        _panel(axes, [score for score in scores if score["structure"] == name], name)
    if names:
        panels[-1].legend(fontsize=8, frameon=False, loc="lower right")
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _panel(axes, scores: list[dict[str, Any]], name: str) -> None:
    recipes = list(dict.fromkeys(score["recipe"] for score in scores))
    shares = sorted({score["labels"] for score in scores})
    for index, recipe in enumerate(recipes):
        own = sorted((s for s in scores if s["recipe"] == recipe), key=lambda s: s["labels"])
        colour = _COLOURS[index % len(_COLOURS)]
        # side by side, so that intervals of many ways can be told apart
        x = [100 * s["labels"] * 1.03 ** (index - (len(recipes) - 1) / 2) for s in own]
        axes.plot(x, [s["dice"] for s in own], "o-", color=colour, label=recipe, markersize=4)
        for at, score in zip(x, own, strict=True):
            if score["ci95"]:
                axes.plot([at, at], score["ci95"], color=colour, alpha=0.45, linewidth=1.5)
    full = [s["dice"] for s in scores if s["recipe"] == "supervised" and s["labels"] == 1]
    if full:
        axes.axhline(full[0], color="#444", linestyle=":", linewidth=1)
    axes.set_xscale("log")
    axes.set_xticks([100 * s for s in shares], [f"{100 * s:g} %" for s in shares])
    axes.minorticks_off()
    axes.set_title(name, fontsize=11, loc="left")
    axes.set_xlabel("labelled patients")
    axes.set_ylabel("Dice")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
