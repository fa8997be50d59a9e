"""Scatter and Bland-Altman plots of two readings, and Dice by structure, as one picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from echoseg.metrics.agreement import agreement

_INK, _DOT, _LINE, _DIM = "#17202a", "#2f6fb0", "#d9601a", "#666"


@dataclass(frozen=True, kw_only=True, slots=True)
class Readings:
    """Pairs of one quantity: what it is called, its unit, predictions and references."""

    title: str
    unit: str
    predicted: Sequence[float]
    reference: Sequence[float]


def agreement_png(readings: Sequence[Readings], dice: dict[str, list[float]]) -> bytes:
    """Return a row of two plots a quantity, and Dice by structure below, as the bytes of a PNG."""
    from matplotlib.figure import Figure

    rows = len(readings) + bool(dice)
    figure = Figure(figsize=(9, 3.4 * max(rows, 1)), dpi=110, layout="constrained")
    grid = figure.add_gridspec(max(rows, 1), 2)
    for index, pairs in enumerate(readings):
        _scatter(figure.add_subplot(grid[index, 0]), pairs)
        _bland_altman(figure.add_subplot(grid[index, 1]), pairs)
    if dice:
        _boxes(figure.add_subplot(grid[rows - 1, :]), dice)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _tidy(axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def _scatter(axes, pairs: Readings) -> None:
    axes.plot(pairs.reference, pairs.predicted, "o", color=_DOT, markersize=4, alpha=0.7)
    both = [*pairs.reference, *pairs.predicted]
    axes.plot([min(both), max(both)], [min(both), max(both)], color=_DIM, linewidth=1)
    r = agreement(pairs.predicted, pairs.reference).r
    suffix = "" if r is None else f", r = {r:.3f}"
    axes.set_title(f"{pairs.title}{suffix}, n = {len(pairs.reference)}", fontsize=10, color=_INK)
    _tidy(axes, f"reference ({pairs.unit})", f"predicted ({pairs.unit})")


def _bland_altman(axes, pairs: Readings) -> None:
    one, other = np.asarray(pairs.predicted), np.asarray(pairs.reference)
    result = agreement(one, other)
    axes.plot((one + other) / 2, (one - other).round(6), "o", color=_DOT, markersize=4, alpha=0.7)
    axes.axhline(result.bias, color=_LINE, linewidth=1.5)
    for limit in result.limits or ():
        axes.axhline(limit, color=_LINE, linewidth=1, linestyle="--")
    spread = "" if result.sd is None else f", SD {result.sd:.1f}"
    axes.set_title(f"bias {result.bias:+.1f}{spread} {pairs.unit}", fontsize=10, color=_INK)
    _tidy(axes, f"mean of both ({pairs.unit})", f"predicted - reference ({pairs.unit})")


def _boxes(axes, dice: dict[str, list[float]]) -> None:
    axes.boxplot(list(dice.values()), widths=0.6)
    axes.set_xticks(range(1, len(dice) + 1), list(dice), rotation=40, ha="right")
    _tidy(axes, "", "Dice of each item")
