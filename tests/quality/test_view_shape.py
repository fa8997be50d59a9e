"""Shape and motion of masks, as the view check uses them."""

import numpy as np
import pytest
from skimage.draw import ellipse

from echoseg.clip import Label
from echoseg.quality.view_shape import FEATURES, shape_features

BOX = (0, 0, 120, 120)


def heart(half_height=30, half_width=15, shift=0, turn_rad=0.0, atrium=True):
    mask = np.zeros((120, 120), np.uint8)
    for label, grow in ((Label.LV_MYOCARDIUM, 5), (Label.LV_CAVITY, 0)):
        mask[ellipse(50, 60 + shift, half_height + grow, half_width + grow, None, turn_rad)] = label
    if atrium:
        mask[ellipse(50 + half_height + 13, 60 + shift, 12, 14)] = Label.LA_CAVITY
    return mask


def named(masks, box=BOX):
    return dict(zip(FEATURES, shape_features(masks, box), strict=True))


def test_an_upright_heart_has_the_values_of_its_ellipses():
    values = named(np.stack([heart()] * 4))
    assert values["cavity_share"] == values["steadiness"] == values["atrium_share"] == 1
    assert values["area_change"] == 0
    assert values["elongation"] == pytest.approx(2, abs=0.05)
    assert values["uprightness"] == pytest.approx(1, abs=0.01)
    assert values["atrium_below"] == pytest.approx(1, abs=0.01)
    assert values["ring"] > 0.9
    assert values["row"] == pytest.approx(50 / 120, abs=0.02)
    assert values["off_center"] < 0.01
    assert values["size"] == pytest.approx(np.sqrt(np.pi * 30 * 15) / 120, abs=0.01)


def test_a_lying_heart_a_trembling_one_and_one_without_atrium_differ():
    lying = named(np.stack([heart(turn_rad=np.pi / 2)] * 4))
    assert lying["uprightness"] < 0.05
    trembling = named(np.stack([heart(shift=12 * (k % 2)) for k in range(6)]))
    assert trembling["steadiness"] < 0.6
    alone = named(np.stack([heart(atrium=False)] * 4))
    assert alone["atrium_share"] == alone["atrium_below"] == 0
    beating = named(np.stack([heart(half_width=15 - k) for k in range(5)]))
    assert beating["area_change"] == pytest.approx(1 - 11 / 15, abs=0.06)


def test_features_stay_when_mirrored_enlarged_or_framed():
    masks = np.stack([heart(shift=6, half_width=14 - k) for k in range(4)])
    values = shape_features(masks, BOX)
    assert shape_features(masks[..., ::-1], BOX) == pytest.approx(values, abs=0.02)
    large = masks.repeat(3, 1).repeat(3, 2)
    assert shape_features(large, (0, 0, 360, 360)) == pytest.approx(values, abs=0.04)
    framed = np.pad(masks, ((0, 0), (10, 20), (30, 5)))
    assert shape_features(framed, (10, 30, 130, 150)) == pytest.approx(values, abs=1e-9)


def test_masks_without_a_cavity_have_no_features():
    assert not shape_features(np.zeros((3, 120, 120), np.uint8), BOX).any()
    half = np.stack([heart(), np.zeros((120, 120), np.uint8)] * 3)
    assert named(half)["cavity_share"] == 0.5
    assert named(half)["steadiness"] == 0
