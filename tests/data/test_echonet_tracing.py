import numpy as np
import pytest

from echoseg.clip import Label
from echoseg.data.echonet_tracing import mask_from_tracing, tracing_area_px, tracing_from_mask
from echoseg.errors import MeasurementError


def ventricle(side, rng, *, atrium):
    """Return a smooth bullet with its apex up, cut straight at the base, tilted up to 28 degrees.

    Sizes are those of EchoNet-Dynamic's pictures at 112 pixels: 35 to 70 long, 18 to 40 wide.
    """
    scale = side / 112
    length, width = rng.uniform(35, 70) * scale, rng.uniform(18, 40) * scale
    tilt = rng.uniform(-0.5, 0.5)
    y, x = np.mgrid[:side, :side].astype(float)
    x -= side / 2 + rng.uniform(-8, 8) * scale
    y -= rng.uniform(12, 25) * scale
    across = x * np.cos(tilt) + y * np.sin(tilt)
    along = (y * np.cos(tilt) - x * np.sin(tilt)) / length
    reach = np.where(along < 0.68, 0.68, 0.75)
    half = width / 2 * np.sqrt(np.clip(1 - ((along - 0.68) / reach) ** 2, 0, None))
    mask = np.zeros((side, side), np.uint8)
    mask[(0 <= along) & (along <= 1) & (np.abs(across) <= half)] = Label.LV_CAVITY
    if atrium:
        mask[(1 < along) & (along < 1.5) & (np.abs(across) < 0.45 * width)] = Label.LA_CAVITY
    return mask


def drawn(chords, side):
    return mask_from_tracing(*chords.T, side, side)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("atrium", [False, True])
@pytest.mark.parametrize("side", [112, 224, 400])
def test_a_tracing_covers_the_mask_it_came_from(side, atrium):
    rng = np.random.default_rng(0)
    found = []
    for _ in range(40):
        mask = ventricle(side, rng, atrium=atrium)
        found.append(dice(drawn(tracing_from_mask(mask), side), mask == Label.LV_CAVITY))
    assert min(found) >= 0.97
    assert np.mean(found) >= 0.98


def test_rows_are_the_long_axis_and_chords_from_apex_to_base():
    mask = ventricle(112, np.random.default_rng(3), atrium=True)
    chords = tracing_from_mask(mask)
    assert chords.shape == (21, 4)
    apex, base = chords[0, :2], chords[0, 2:]
    assert apex[1] < base[1]
    down = (base - apex) / np.linalg.norm(base - apex)
    heights = (chords[1:].reshape(20, 2, 2).mean(1) - apex) @ down
    assert (np.diff(heights) > 0).all()
    assert (chords[1:, 0] < chords[1:, 2]).all()  # from the left wall to the right
    assert np.abs((chords[1:, 2:] - chords[1:, :2]) @ down).max() < 1e-9  # square to the axis


def test_the_rasteriser_draws_the_polygon_through_the_chords_ends():
    """By hand: a 5 x 4 rectangle with its border, whatever the long axis says."""
    chords = np.array([[99, 99, 99, 99], [2, 1, 5.4, 1], [2.2, 3, 5, 3], [1.6, 5.2, 5, 4.8]], float)
    expected = np.zeros((8, 9), bool)
    expected[1:6, 2:6] = True
    assert np.array_equal(mask_from_tracing(*chords.T, 8, 9), expected)


def test_what_lies_outside_the_picture_is_cut_off():
    chords = np.array([[0, 0, 0, 0], [-3, -2, 2, -2], [-3, 2, 2, 2]], float)
    assert mask_from_tracing(*chords.T, 6, 6).sum() == 9


def test_the_area_is_the_polygons():
    chords = np.array([[0, 0, 0, 0], [1, 1, 4, 1], [1, 3, 4, 3], [1, 5.5, 4, 5.5]], float)
    assert tracing_area_px(chords) == pytest.approx(3 * 4.5)


def test_a_mask_without_cavity_is_refused():
    with pytest.raises(MeasurementError, match="at least one pixel"):
        tracing_from_mask(np.zeros((9, 9), np.uint8))


@pytest.mark.parametrize("pixels", [[(4, 4)], [(4, 4), (4, 5)], [(3, 4), (4, 4), (5, 4)]])
def test_a_speck_is_traced_without_failing(pixels):
    mask = np.zeros((9, 9), np.uint8)
    mask[tuple(zip(*pixels, strict=True))] = Label.LV_CAVITY
    assert np.isfinite(tracing_from_mask(mask)).all()


def by_crossings(x, y, height, width):
    """Pixel centres inside a polygon of whole-number corners, or on its border; counted by hand."""
    mask = np.zeros((height, width), bool)
    corners = list(zip(x.tolist(), y.tolist(), strict=True))
    edges = list(zip(corners, corners[1:] + corners[:1], strict=True))
    for row in range(height):
        for column in range(width):
            inside = False
            for (x0, y0), (x1, y1) in edges:
                area = (x1 - x0) * (row - y0) - (column - x0) * (y1 - y0)
                within = min(x0, x1) <= column <= max(x0, x1) and min(y0, y1) <= row <= max(y0, y1)
                if area == 0 and within:
                    inside = True
                    break
                if (y0 > row) != (y1 > row) and (area < 0) == (y1 < y0):
                    inside = not inside
            mask[row, column] = inside
    return mask


@pytest.mark.parametrize("seed", range(6))
def test_the_rasteriser_is_equal_pixel_by_pixel_to_a_count_of_crossings(seed):
    """The authors' polygon: first ends down, second ends up, rounded; its border belongs to it."""
    rng = np.random.default_rng(seed)
    heights = np.linspace(6, 40, 21)
    half = 10 * np.sin(np.linspace(0.4, 2.8, 21)) + rng.uniform(0, 3, 21)
    x1, x2 = 24.3 - half, 24.3 + half
    y1, y2 = heights + rng.normal(0, 0.2, 21), heights + rng.normal(0, 0.2, 21)
    axis = [24.3, 6, 24.3, 40]
    rows = [
        np.concatenate(([first], rest)) for first, rest in zip(axis, (x1, y1, x2, y2), strict=True)
    ]
    mask = mask_from_tracing(*rows, 48, 48)
    x = np.rint(np.concatenate((x1, x2[::-1]))).astype(int)
    y = np.rint(np.concatenate((y1, y2[::-1]))).astype(int)
    assert np.array_equal(mask, by_crossings(x, y, 48, 48))
