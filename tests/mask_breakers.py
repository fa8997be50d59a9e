"""Masks as no heart and no good network makes them, for what must never fail."""

import numpy as np
from scipy.ndimage import gaussian_filter

from heart_makers import heart

MOST_FRAMES, MOST_SIDE_PX = 24, 64


def beating_small(generator):
    """A heart of 64 x 64 pixels that beats, whole."""
    num_frames = int(generator.integers(2, MOST_FRAMES))
    squeeze = 0.2 * (1 - np.cos(np.arange(num_frames) * generator.uniform(0.2, 2)))
    return np.stack(
        [heart(22 * (1 - s), 80 * (1 - 0.4 * s), spacing_mm=(2.0, 2.0), size=(64, 64))
         for s in squeeze]
    )  # fmt: skip


def noise(generator):
    """Labels of noise, from single pixels to large blots."""
    shape = tuple(generator.integers(1, [MOST_FRAMES, MOST_SIDE_PX, MOST_SIDE_PX], endpoint=True))
    grain = generator.choice([0.0, 1.0, 3.0, 8.0])
    field = gaussian_filter(generator.standard_normal((4, *shape)), (0, 0, grain, grain))
    return field.argmax(0).astype(np.uint8)


def empty(generator):
    """Nothing at all, or nothing but one label."""
    shape = tuple(generator.integers(1, [MOST_FRAMES, MOST_SIDE_PX, MOST_SIDE_PX], endpoint=True))
    return np.full(shape, generator.integers(0, 4), np.uint8)


def fragmented(generator):
    """A heart cut into pieces by lines of background."""
    masks = beating_small(generator)
    for mask in masks:
        for _ in range(generator.integers(1, 6)):
            place = int(generator.integers(0, 64))
            mask[place, :] = 0
            mask[:, int(generator.integers(0, 64))] = 0
    return masks


def holed(generator):
    """A heart with holes, and with stray pieces of every label."""
    masks = beating_small(generator)
    for mask in masks:
        for _ in range(generator.integers(1, 8)):
            row, column = generator.integers(0, 58, 2)
            size = int(generator.integers(1, 10))
            mask[row : row + size, column : column + size] = generator.integers(0, 4)
    return masks


def flickering(generator):
    """A heart whose frames are missing, swapped, upside down or relabelled at random."""
    masks = beating_small(generator)
    for index, mask in enumerate(masks):
        kind = generator.integers(0, 6)
        if kind == 0:
            mask[:] = 0
        elif kind == 1:
            mask[:] = masks[generator.integers(0, len(masks))]
        elif kind == 2:
            masks[index] = mask[::-1].copy()
        elif kind == 3:
            masks[index] = generator.permutation(4).astype(np.uint8)[mask]
    return masks


def at_the_edge(generator):
    """A heart pushed half out of the picture, or rolled over its edge."""
    masks = beating_small(generator)
    shift = tuple(int(step) for step in generator.integers(-40, 41, 2))
    moved = np.roll(masks, shift, (1, 2))
    if generator.random() < 0.5:
        rows, columns = shift
        moved[:, : max(0, rows)] = 0
        moved[:, :, : max(0, columns)] = 0
    return moved


def thin(generator):
    """Cavities of one pixel, one line, a diagonal, a checkerboard or a ring."""
    num_frames = int(generator.integers(1, MOST_FRAMES))
    masks = np.zeros((num_frames, 40, 40), np.uint8)
    rows, columns = np.mgrid[:40, :40]
    for mask in masks:
        kind = generator.integers(0, 6)
        place = int(generator.integers(0, 40))
        inside = (
            (rows == place) & (columns == place),
            rows == place,
            columns == place,
            rows == columns,
            (rows + columns) % 2 == 0,
            np.abs(np.hypot(rows - 20, columns - 20) - 12) < 1,
        )[kind]
        mask[inside] = 1
        mask[~inside & (generator.random((40, 40)) < 0.5)] = 2
    return masks


BREAKERS = (noise, empty, fragmented, holed, flickering, at_the_edge, thin)


def broken_case(seed):
    """Return masks, and what `measure_masks` is told of them, all drawn by the seed."""
    generator = np.random.default_rng(seed)
    masks = BREAKERS[seed % len(BREAKERS)](generator)
    frame_s = generator.choice([0.001, 1 / 200, 1 / 50, 1 / 20, 1.0])
    times = np.cumsum(frame_s * generator.uniform(0.5, 1.5, len(masks)))
    r_waves = np.sort(generator.uniform(-1, times[-1] + 1, generator.integers(0, 6)))
    spacing_mm = (
        tuple(10 ** generator.uniform(-3, 1, 2)) if generator.random() < 0.4 else (2.0, 2.0)
    )
    return masks, {
        "spacing_mm": None if generator.random() < 0.3 else spacing_mm,
        "times_s": None if generator.random() < 0.2 else times - times[0],
        "r_wave_times_s": tuple(r_waves) if generator.random() < 0.3 else (),
        "smoothing": bool(generator.random() < 0.7),
        "cavity_only": bool(generator.random() < 0.4),
    }
