"""An EF with its interval on a scale of the classes, as SVG."""

from html import escape

from echoseg.inference.ef_statement import EfStatement

_LOW, _HIGH, _WIDTH = 10.0, 90.0, 360
_CLASSES = ((10.0, 40.5, "reduced"), (40.5, 49.5, "mildly"), (49.5, 90.0, "preserved"))
_SHADES = ("#d9dfe6", "#e6ebf0", "#f0f3f6")
_INK, _DIM = "#17202a", "#5d6b7a"


def ef_scale_svg(ef: EfStatement) -> str:
    """Draw the EF and its interval; empty where one of them may not be stated."""
    if ef.kind != "plain" or ef.interval is None or ef.ef_percent is None:
        return ""

    def x(percent: float) -> float:
        inside = min(max(percent, _LOW), _HIGH)
        return 6 + (_WIDTH - 12) * (inside - _LOW) / (_HIGH - _LOW)

    low, high = x(ef.interval.low_percent), x(ef.interval.high_percent)
    words = f"EF {ef.value}, {ef.interval_name} {ef.interval_span}, on a scale of 10 to 90 %"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} 56" role="img" '
        f'aria-label="{escape(words)}" font-family="DejaVu Sans, sans-serif" font-size="12">'
    ]
    for (start, end, name), shade in zip(_CLASSES, _SHADES, strict=True):
        parts.append(
            f'<rect class="band" x="{x(start):.1f}" y="4" width="{x(end) - x(start):.1f}" '
            f'height="28" fill="{shade}" stroke="#fff"/><text class="axis" '
            f'x="{(x(start) + x(end)) / 2:.1f}" y="15" text-anchor="middle" font-size="10.5" '
            f'fill="{_DIM}">{name}</text>'
        )
    for percent in (20, 40, 50, 60, 80):
        parts.append(
            f'<text class="axis" x="{x(percent):.1f}" y="46" text-anchor="middle" '
            f'fill="{_DIM}">{percent} %</text>'
        )
    parts += [
        f'<path class="ef" d="M{low:.1f} 23H{high:.1f}M{low:.1f} 18v10M{high:.1f} 18v10" '
        f'stroke="{_INK}" stroke-width="2" fill="none"/>',
        f'<circle class="ef" cx="{x(ef.ef_percent):.1f}" cy="23" r="4.5" fill="{_INK}"/></svg>\n',
    ]
    return "\n".join(parts)
