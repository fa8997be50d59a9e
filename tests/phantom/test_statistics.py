"""Statistics against shapes and greys whose answers are known by hand."""

import numpy as np
import pytest

from echoseg.clip import Label, Phase
from echoseg.phantom.statistics import Distribution, Still, describe, distance


def still(**changes):
    """A cavity of 20 x 50 mm under an 8 mm wall, an atrium of 20 x 20 mm below, 1 mm a pixel."""
    mask = np.zeros((120, 100), np.uint8)
    mask[22:80, 32:68] = Label.LV_MYOCARDIUM
    mask[30:80, 40:60] = Label.LV_CAVITY
    mask[80:100, 40:60] = Label.LA_CAVITY
    picture = np.full(mask.shape, 90, np.uint8)
    picture[mask == Label.LV_CAVITY] = 50
    picture[mask == Label.LV_MYOCARDIUM] = 120
    picture[mask == Label.LA_CAVITY] = 60
    known = {"picture": picture, "mask": mask, "spacing_mm": (1.0, 1.0), "phase": Phase.ED}
    return Still(**(known | changes))


def mean(table, name):
    return table[f"ED {name}"].mean


def test_lengths_widths_and_walls_of_a_box():
    table = describe([still()])
    assert mean(table, "LV length (mm)") == pytest.approx(51, abs=2)
    assert mean(table, "LV width, mid (mm)") == pytest.approx(20, abs=0.5)
    assert mean(table, "wall, left mid (mm)") == pytest.approx(8, abs=1.1)
    assert mean(table, "wall, right mid (mm)") == pytest.approx(8, abs=1.1)
    assert mean(table, "LV area (cm2)") == pytest.approx(10)
    assert mean(table, "LA area (cm2)") == pytest.approx(4)
    assert mean(table, "LV share of the epicardial area") == pytest.approx(1000 / (36 * 58))
    assert mean(table, "LV share of the square frame") == pytest.approx(1000 / 120**2)
    assert abs(mean(table, "tilt (deg)")) < 12  # the farthest point of a box is a corner


def test_greys_of_flat_parts():
    table = describe([still()])
    assert mean(table, "grey, LV") == pytest.approx(50, abs=3)
    assert mean(table, "grey, LA") == pytest.approx(60, abs=3)
    assert mean(table, "grey, outside") == pytest.approx(90, abs=3)
    assert mean(table, "border, septal mid: wall - cavity") == pytest.approx(70)
    assert mean(table, "grey, nearest 20 mm") == pytest.approx(90, abs=12)
    assert mean(table, "gCNR, wall to cavity") > 0.9
    shares = [
        mean(table, f"power, {b}") for b in ("coarse (over 20 px)", "middle", "fine (under 5 px)")
    ]
    assert sum(shares) == pytest.approx(1)


def test_millimetres_scale_and_greys_do_not():
    one, two = describe([still()]), describe([still(spacing_mm=(2.0, 2.0))])
    for name in ("LV length (mm)", "LV width, mid (mm)", "LA length (mm)"):
        assert mean(two, name) == pytest.approx(2 * mean(one, name), rel=1e-6)
    assert mean(two, "grey, LV") == mean(one, "grey, LV")


def test_without_scale_there_are_no_lengths():
    table = describe([still(spacing_mm=None)])
    assert not [name for name in table if "(mm)" in name or "(cm2)" in name]
    assert "ED grey, LV" in table


def test_phases_are_kept_apart_and_counted():
    table = describe([still(), still(), still(phase=Phase.ES)])
    assert table["ED grey, LV"].number == 2
    assert table["ES grey, LV"].number == 1


def test_distance_is_in_standard_deviations():
    one, other = (Distribution(number=9, mean=m, sd=2.0) for m in (10.0, 7.0))
    assert distance(one, other) == pytest.approx(1.5)
    assert distance(other, one) == pytest.approx(-1.5)
    assert distance(one, one) == 0
