"""The clip as a whole: truth fits the picture, pictures fit their tier, nothing drifts."""

import hashlib

import numpy as np
import pytest
from scipy import ndimage

from echoseg.clip import Label, View
from echoseg.errors import ConfigError
from echoseg.measure.geometry import disk_diameters_mm, disk_volume_ml, long_axis, mask_contour_mm
from echoseg.phantom import Phantom, PhantomConfig, Phenotype, Rhythm, Style, Tier

SEEDS = range(6)


@pytest.fixture(scope="module")
def clips():
    """A dozen hearts in each tier: frames and truth."""
    found = {}
    for tier in Tier:
        for seed in range(12):
            config = PhantomConfig(
                seed=400 + seed, tier=tier, size_px=112, num_frames=7, overlay=False
            )
            phantom = Phantom(config)
            found[tier, seed] = phantom.frames(), phantom.truth()
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_a_mask_has_its_contours_area(seed):
    phantom = Phantom(PhantomConfig(seed=seed, size_px=224, num_frames=4, tier=Tier.EASY))
    truth = phantom.truth()
    for mask, line in zip(truth.masks, truth.endo_mm, strict=True):
        x, y = line.T
        area = 0.5 * abs((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())
        if not phantom.simulator.sector.mask[_covered(phantom, line)].all():
            continue
        rim = np.linalg.norm(np.diff(line, axis=0, append=line[:1]), axis=1).sum()
        pixel = truth.spacing_mm[0]
        assert abs((mask == Label.LV_CAVITY).sum() * pixel**2 - area) < rim * pixel


def _covered(phantom, line):
    place = np.rint(phantom.simulator.sector.to_px(line)).astype(int)
    return np.clip(place[:, 1], 0, 223), np.clip(place[:, 0], 0, 223)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_masks_contour_is_the_border_that_was_drawn(seed):
    phantom = Phantom(PhantomConfig(seed=seed, size_px=224, num_frames=2, tier=Tier.EASY))
    truth = phantom.truth()
    sector = phantom.simulator.sector
    assert sector.mask[_covered(phantom, truth.endo_mm[0])].all(), "choose a seed inside the sector"
    contour = mask_contour_mm(truth.masks[0] == Label.LV_CAVITY, truth.spacing_mm)
    drawn = sector.to_px(truth.endo_mm[0]) * truth.spacing_mm[0]
    steps = np.linspace(0, 1, 8)[:, None, None]
    drawn = (drawn[:-1] * (1 - steps) + drawn[1:] * steps).reshape(-1, 2)
    away = np.linalg.norm(drawn[:, None] - contour, axis=-1).min(1)
    assert np.quantile(away, 0.95) < 1.2 * truth.spacing_mm[0]


def test_hinges_and_apex_lie_on_the_cavitys_border(clips):
    for _, truth in clips.values():
        cavity = truth.masks[0] == Label.LV_CAVITY
        rim = ndimage.distance_transform_edt(cavity) + ndimage.distance_transform_edt(~cavity)
        points = np.rint([*truth.hinges_px[0], truth.apex_px[0]]).astype(int)
        inside = (points >= 0).all(1) & (points < 112).all(1)
        for x, y in points[inside]:
            lit = clips and rim[y, x]
            assert lit < 12  # the sector's edge may cut the mask
    near = [
        np.median([_rim(t, p) for p in (*t.hinges_px[0], t.apex_px[0])]) for _, t in clips.values()
    ]
    assert np.median(near) <= 2


def _rim(truth, point):
    cavity = truth.masks[0] == Label.LV_CAVITY
    rim = ndimage.distance_transform_edt(cavity) + ndimage.distance_transform_edt(~cavity)
    x, y = np.clip(np.rint(point).astype(int), 0, 111)
    return rim[y, x]


def test_tiers_order_the_contrast(clips):
    """Wall against cavity: the same hearts, harder and harder."""
    contrast = []
    for tier in Tier:
        steps = []
        for seed in range(12):
            frames, truth = clips[tier, seed]
            grey, mask = frames[0].astype(float), truth.masks[0]
            wall, cavity = grey[mask == Label.LV_MYOCARDIUM], grey[mask == Label.LV_CAVITY]
            bins = np.linspace(0, 256, 65)
            shared = np.minimum(
                np.histogram(wall, bins)[0] / wall.size, np.histogram(cavity, bins)[0] / cavity.size
            )
            steps.append((1 - shared.sum(), wall.mean() - cavity.mean()))
        contrast.append(np.mean(steps, 0))
    for harder, easier in zip(contrast[1:], contrast[:-1], strict=True):
        assert (harder < easier).all()


def test_the_apical_wall_stands_out_less_than_the_basal(clips):
    """Mayo et al. 1998: near the probe the contrast is worst."""
    apical, basal = [], []
    for frames, truth in clips.values():
        rows = np.nonzero((truth.masks[0] == Label.LV_CAVITY).any(1))[0]
        if not rows.size:
            continue
        middle = rows.mean()
        level = np.arange(112)[:, None] < middle - 0.2 * np.ptp(rows)
        low = np.arange(112)[:, None] > middle
        for part, into in ((level, apical), (low, basal)):
            wall = frames[0][(truth.masks[0] == Label.LV_MYOCARDIUM) & part]
            cavity = frames[0][(truth.masks[0] == Label.LV_CAVITY) & part]
            if wall.size > 20 and cavity.size > 20:
                into.append(wall.mean() - cavity.mean())
    assert np.mean(apical) < np.mean(basal)


def _grain(frame):
    return frame.astype(float) - ndimage.uniform_filter(frame.astype(float), 9)


def test_blood_is_new_in_the_next_frame_and_wall_is_not(clips):
    blood, wall = [], []
    for tier in (Tier.EASY, Tier.MEDIUM):
        for seed in range(12):
            frames, truth = clips[tier, seed]
            first, second = _grain(frames[3]), _grain(frames[4])
            both = [truth.masks[3] == label for label in (Label.LV_CAVITY, Label.LV_MYOCARDIUM)]
            deep = ndimage.binary_erosion(both[0], iterations=5)  # away from walls and valves
            if deep.sum() < 60:
                continue
            blood.append(np.corrcoef(first[deep], second[deep])[0, 1])
            wall.append(np.corrcoef(first[both[1]], second[both[1]])[0, 1])
    assert np.median(blood) < 0.4
    assert np.median(wall) > np.median(blood) + 0.2


def test_area_does_not_tell_volume_exactly():
    """The heart moves through the plane, so a clip's areas are no function of its volumes."""
    ties = []
    for seed in range(16):
        config = PhantomConfig(seed=800 + seed, num_frames=30, size_px=96, frame_rate_hz=30)
        truth = Phantom(config).truth()
        areas = (truth.masks == Label.LV_CAVITY).sum((1, 2))
        ties.append(np.corrcoef(areas, truth.volume_ml)[0, 1])
    assert np.median(ties) < 0.998
    assert np.median(ties) > 0.8


def test_biplane_disks_come_near_the_true_volume():
    """A2C and A4C without foreshortening; disks of the two visible contours."""
    errors = []
    for seed in range(10):
        diameters, lengths = [], []
        for view in (View.A4C, View.A2C):
            config = PhantomConfig(seed=seed, view=view, num_frames=1, size_px=96, tier=Tier.EASY)
            phantom = Phantom(config)
            plane = phantom.probe_pose.plane(phantom.heart, phantom.times_s)
            level = type(plane)(
                azimuth_rad=plane.azimuth_rad, tilt_rad=0.0, pivot_mm=plane.pivot_mm,
                offset_mm=np.zeros(1),
            )  # fmt: skip
            line = phantom.heart.border(level, phantom.times_s, 129).points_mm[0]
            mask = _filled(line, 0.4)
            axis = long_axis(mask, (0.4, 0.4))
            contour = mask_contour_mm(mask == Label.LV_CAVITY, (0.4, 0.4))
            diameters.append(disk_diameters_mm(contour, axis))
            lengths.append(axis.length_mm)
        biplane_ml = np.pi / 4 * (diameters[0] * diameters[1]).mean() * max(lengths) / 1000
        true_ml = phantom.heart.volume_ml(phantom.times_s)[0]
        errors.append(biplane_ml / true_ml - 1)
        assert disk_volume_ml(diameters[0], lengths[0]) > 0
    assert abs(np.median(errors)) < 0.06
    assert np.abs(errors).max() < 0.2


def _filled(line, pixel_mm):
    from skimage.draw import polygon

    place = (line - line.min(0)) / pixel_mm + 4
    mask = np.zeros((int(place[:, 1].max()) + 60, int(place[:, 0].max()) + 8), np.uint8)
    rows, columns = polygon(place[:, 1], place[:, 0])
    mask[rows, columns] = Label.LV_CAVITY
    ends = np.array([place[0], place[-1]])
    base = [*ends, ends[1] + [0, 30], ends[0] + [0, 30]]
    rows, columns = polygon([p[1] for p in base], [p[0] for p in base])
    free = mask[rows, columns] == 0
    mask[rows[free], columns[free]] = Label.LA_CAVITY
    return mask


def test_the_same_seed_is_the_same_clip():
    config = PhantomConfig(seed=21, num_frames=3, size_px=96)
    hashes = {hashlib.sha256(Phantom(config).frames().tobytes()).hexdigest() for _ in range(2)}
    assert len(hashes) == 1
    other = PhantomConfig(seed=22, num_frames=3, size_px=96)
    assert not np.array_equal(Phantom(config).frames(), Phantom(other).frames())


@pytest.mark.parametrize("style", Style)
@pytest.mark.parametrize("phenotype", Phenotype)
def test_every_kind_of_heart_can_be_filmed(phenotype, style):
    config = PhantomConfig(
        seed=2, phenotype=phenotype, style=style, num_frames=2, size_px=96,
        rhythm=Rhythm.ATRIAL_FIBRILLATION,
    )  # fmt: skip
    phantom = Phantom(config)
    frames, truth = phantom.frames(), phantom.truth()
    assert frames.std() > 5
    assert {int(label) for label in np.unique(truth.masks)} == set(range(4))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size_px", 7), ("num_frames", 0), ("ef_percent", 120), ("ef_percent", float("nan")),
        ("frame_rate_hz", 0), ("seed", -1), ("view", View.PLAX),
    ],
)  # fmt: skip
def test_bad_parameters_are_refused(field, value):
    with pytest.raises(ConfigError, match=f"{field} must be .*got"):
        PhantomConfig(**{field: value})


def test_a_name_is_as_good_as_its_kind():
    named = PhantomConfig(
        view="A2C", tier="hard", rhythm="premature", phenotype="dyssynchronous", style="held_out"
    )
    assert named == PhantomConfig(
        view=View.A2C,
        tier=Tier.HARD,
        rhythm=Rhythm.PREMATURE,
        phenotype=Phenotype.DYSSYNCHRONOUS,
        style=Style.HELD_OUT,
    )
    assert type(named.tier) is Tier  # a plain text would film another heart
    assert type(named.phenotype) is Phenotype


def test_numbers_of_an_array_are_taken_and_can_be_written():
    config = PhantomConfig(
        seed=np.int64(4), size_px=np.int32(64), frame_rate_hz=np.float32(30), ef_percent=40
    )
    kinds = (config.seed, config.size_px, config.frame_rate_hz, config.ef_percent)
    assert [type(value) for value in kinds] == [int, int, float, float]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tier": "silly"}, "tier must be 'easy', 'medium', 'hard' or 'extreme', got 'silly'"),
        ({"style": "x"}, "style must be 'train' or 'held_out', got 'x'"),
        ({"phenotype": "q"}, "phenotype must be 'camus', .*, got 'q'"),
        ({"rhythm": 3}, "rhythm must be 'sinus', .*, got 3"),
        ({"view": None}, "view must be .* got None"),
        ({"seed": 1.5}, "seed must be a valid integer, got 1.5"),
        ({"seed": True}, "seed must be a valid integer, got True"),
        ({"seed": None}, "seed must be a valid integer, got None"),
        ({"num_frames": 2.5}, "num_frames must be a valid integer, got 2.5"),
        ({"ef_percent": "40"}, "ef_percent must be a valid number, got '40'"),
        ({"ef_percent": np.nan}, "ef_percent must be a finite number, got nan"),
        ({"overlay": "no"}, "overlay must be a valid boolean, got 'no'"),
    ],
)
def test_what_is_no_setting_is_refused(wrong, said):
    with pytest.raises(ConfigError, match=said):
        PhantomConfig(**wrong)


def test_the_next_hearts_follow_by_seed():
    first = PhantomConfig(seed=5, tier=Tier.HARD)
    assert [config.seed for config in first.next_hearts(3)] == [5, 6, 7]
    assert first.next_hearts(1) == [first]
    with pytest.raises(ConfigError, match="num_clips must be from 1 to 1000000, got 0"):
        first.next_hearts(0)
    with pytest.raises(ConfigError, match="lower seed or fewer clips"):
        PhantomConfig(seed=2**31 - 1).next_hearts(2)
