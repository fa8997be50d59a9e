"""Text that is burned into the pixels: strokes that stay the same while the heart moves.

A stroke is thin and much brighter, or darker, than what surrounds it. Strokes of one height side
by side are a line of text. It is a check, not a reader: it says where text may be, never what.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from echoseg.clip import Clip, ClipWarning
from echoseg.preprocess.sector import BURNED_IN, Sector, find_sector

_MIN_CONTRAST, _MAX_CHANGE = 45, 24
"""Grey levels: of a stroke against its surroundings; over time, which JPEG causes."""
_MIN_JUMP = 50  # mean over strokes when text comes or goes; measured: text over 63, tissue under 35
_MAX_PARTS, _MIN_PART_FRAMES = 6, 6
_MAX_STROKE_PX = 7
_PAPER_PX = 25
"""Side of the square whose mean is the panel on which dark letters stand."""
_GLYPH_HEIGHT_PX = (5, 48)
_MIN_GLYPHS = 3


class TextBox(NamedTuple):
    """Where a line of text may be, half open, in pixels."""

    top: int
    left: int
    bottom: int
    right: int


def find_text(frames: np.ndarray, where: np.ndarray | None = None) -> list[TextBox]:
    """Find lines of text in frames.

    Args:
        frames: Grey levels, `T H W` uint8.
        where: `H W` bool, where to look; everywhere by default.
    """
    return [line for strokes, _ in _strokes(frames, where) for line in _lines(_glyphs(strokes))]


def find_passing_text(frames: np.ndarray, where: np.ndarray) -> list[TextBox]:
    """Find lines that stand on a part of a clip, as `find_text` those on all of it.

    In a few frames tissue stands still too, but text comes or goes from one frame to the next.
    """
    where, lines = where.copy(), list[TextBox]()
    for part in split_in_time(len(frames)):
        for strokes, levels in _strokes(frames[part], where):
            for line in _lines(_glyphs(strokes)):
                box = slice(line.top, line.bottom), slice(line.left, line.right)
                inside, level = strokes[box], levels[box].astype(np.int16)
                change = np.array([np.abs(f[box] - level)[inside].mean() for f in frames])
                other = np.flatnonzero(change > _MAX_CHANGE)
                next_to = [*other[other < part.start][-1:], *other[other >= part.stop][:1]]
                is_step = (change[next_to] > _MIN_JUMP).any()
                if is_step and len(_glyphs(inside)) >= _MIN_GLYPHS:
                    lines.append(line)
                    where[box] = False  # it may stand on the next part too
    return lines


def split_in_time(num_frames: int) -> list[slice]:
    """At most 6 parts of a clip, of at least 6 frames each."""
    num_parts = min(_MAX_PARTS, num_frames // _MIN_PART_FRAMES)
    ends = np.linspace(0, num_frames, num_parts + 1).astype(int).tolist()
    return [slice(*pair) for pair in itertools.pairwise(ends)]


def _strokes(frames: np.ndarray, where: np.ndarray | None) -> Iterator[tuple[np.ndarray, ...]]:
    """Strokes `H W` bool that stand still, the bright ones and the dark ones, and the levels."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, 24).round().astype(int))
    low = high = frames[chosen[0]]
    for index in chosen[1:]:
        low, high = np.minimum(low, frames[index]), np.maximum(high, frames[index])
    is_static = high.astype(np.int16) - low <= _MAX_CHANGE
    is_static &= True if where is None else where
    size = (_MAX_STROKE_PX, _MAX_STROKE_PX)
    bright = low.astype(np.int16) - ndimage.grey_opening(low, size)
    # on a light panel, which a gap between the sector and a trace below it is not
    paper = np.minimum(ndimage.grey_closing(high, size), ndimage.uniform_filter(low, _PAPER_PX))
    dark = paper.astype(np.int16) - high
    for contrast in (bright, dark):
        yield (contrast > _MIN_CONTRAST) & is_static, low


def _glyphs(strokes: np.ndarray) -> list[TextBox]:
    """Connected strokes of the size and shape of a letter or digit."""
    labels, _ = ndimage.label(strokes, np.ones((3, 3)))  # type: ignore[misc]
    glyphs = []
    for index, (high, wide) in enumerate(ndimage.find_objects(labels), 1):
        height, width = high.stop - high.start, wide.stop - wide.start
        if not _GLYPH_HEIGHT_PX[0] <= height <= _GLYPH_HEIGHT_PX[1] or width > 6 * height:
            continue
        filled = np.count_nonzero(labels[high, wide] == index) / (height * width)
        if 0.08 < filled < 0.95 or width < height / 2:  # no frame, no box; a 1 is a bar
            glyphs.append(TextBox(high.start, wide.start, high.stop, wide.stop))
    return glyphs


def _lines(glyphs: list[TextBox]) -> list[TextBox]:
    """Glyphs of similar height side by side, at least three; a wide one counts by its width."""
    lines: list[list[TextBox]] = []
    for glyph in sorted(glyphs, key=lambda one: one.left):
        line = next((line for line in lines if _follows(line[-1], glyph)), None)
        if line is None:
            lines.append([glyph])
        else:
            line.append(glyph)
    boxes = []
    for line in lines:
        letters = sum(max(1.0, (g.right - g.left) / (g.bottom - g.top)) for g in line)
        if letters >= _MIN_GLYPHS and not _are_ticks(line):
            tops, lefts, bottoms, rights = zip(*line, strict=True)
            boxes.append(TextBox(min(tops), min(lefts), max(bottoms), max(rights)))
    return boxes


def _are_ticks(line: list[TextBox]) -> bool:
    """Whether strokes are those of a ruler: all thin and of one shape."""
    widths = {glyph.right - glyph.left for glyph in line}
    return max(widths) <= 3 and len({glyph.bottom - glyph.top for glyph in line}) <= 2


def _follows(before: TextBox, glyph: TextBox) -> bool:
    heights = before.bottom - before.top, glyph.bottom - glyph.top
    overlap = min(before.bottom, glyph.bottom) - max(before.top, glyph.top)
    gap = glyph.left - before.right
    return (
        overlap >= 0.6 * min(heights)
        and max(heights) <= 2 * min(heights)
        and -1 <= gap <= 1.2 * max(heights)
    )


def text_warnings(clip: Clip, sector: Sector | None = None) -> tuple[ClipWarning, ...]:
    """Warn of text outside the sector, which may name the patient; none where there is none."""
    sector = sector or find_sector(clip)
    outside = None if sector is None else ~sector.mask
    lines = find_text(clip.frames, outside)
    if not lines:
        return ()
    message = (
        f"Text seems to be burned into the pixels outside the sector ({len(lines)} "
        f"line{'s' * (len(lines) != 1)}), which may name the patient: overlay, page and PDF show "
        "it. Use --private (private), or de-identify the clip first (echoseg deidentify)."
    )
    return (ClipWarning(code=BURNED_IN, message=message),)
