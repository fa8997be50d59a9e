"""The phantom written in every layout comes back through that layout's own reader."""

import csv
import json
import os

import numpy as np
import pytest

from echoseg.clip import Label, View
from echoseg.data import (
    camus,
    echonet_dynamic,
)
from echoseg.data import phantom as dataset
from echoseg.data import (
    phantom_writer as phantom_layout,
)
from echoseg.errors import ConfigError, DatasetError, OutputError
from echoseg.io import load_clip, load_masks
from echoseg.phantom import PhantomConfig, Rhythm

CONFIGS = [
    PhantomConfig(seed=s, size_px=96, num_frames=30, frame_rate_hz=30, overlay=False)
    for s in (1, 2)
]


@pytest.fixture(scope="module")
def simulated():
    return [dataset.simulate(config) for config in CONFIGS]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantom")
    for layout in phantom_layout.LAYOUTS:
        phantom_layout.write(root / layout, CONFIGS, layout)
    return root


def dice(one, other):
    return 2 * (one & other).sum() / max(one.sum() + other.sum(), 1)


@pytest.mark.parametrize(
    ("layout", "suffix", "most_apart"),
    [("avi", "avi", 10), ("nifti", "nii.gz", 0), ("dicom", "dcm", 0)],
)
def test_clips_come_back(folders, simulated, layout, suffix, most_apart):
    for one in simulated:
        clip = load_clip(folders / layout / f"{one.name}.{suffix}")
        apart = np.abs(clip.frames.astype(int) - one.clip.frames)
        assert np.quantile(apart, 0.99) <= most_apart
        assert clip.frame_rate_hz == pytest.approx(30, rel=1e-4)
        if layout != "avi":
            assert clip.spacing_mm == pytest.approx(one.clip.spacing_mm, rel=1e-4)
        masks = load_masks(folders / layout / f"{one.name}_masks.nii.gz", fps=30)[1]
        assert np.array_equal(masks, one.annotation.masks)


def test_dicom_keeps_the_r_waves(folders, simulated):
    for one in simulated:
        clip = load_clip(folders / "dicom" / f"{one.name}.dcm")
        assert clip.r_wave_times_s == pytest.approx(one.clip.r_wave_times_s, abs=2e-3)


def test_camus_layout_is_read_by_the_camus_reader(folders, simulated):
    root = folders / "camus"
    stills = list(dataset.stills_of(root))
    for one, still in zip(simulated, stills[::2], strict=True):
        assert np.array_equal(still.picture, one.clip.frames[one.truth.ed_frame])
        assert np.array_equal(still.mask, one.truth.masks[one.truth.ed_frame])
        assert still.spacing_mm == pytest.approx(one.clip.spacing_mm, rel=1e-5)
    clip, known = camus.collect(root)[0]
    assert known.ef_percent == pytest.approx(simulated[0].truth.ef_percent, abs=0.6)
    assert clip.num_frames == abs(simulated[0].truth.es_frame - simulated[0].truth.ed_frame) + 1


def test_echonet_layout_is_read_and_its_rasteriser_gives_the_mask(folders, simulated):
    data = echonet_dynamic.collect(folders / "echonet")
    assert not data.issues
    for one, (_, known) in zip(simulated, data, strict=True):
        assert known.ef_percent == pytest.approx(one.truth.ef_percent, abs=1e-3)
        for frame in (known.ed_frame, known.es_frame):
            true = one.truth.masks[frame] == Label.LV_CAVITY
            assert dice(known.masks[frame] == Label.LV_CAVITY, true) > 0.95


def test_the_truth_of_every_frame_is_told(folders, simulated):
    rows = list(csv.DictReader((folders / "nifti" / "truth.csv").read_text().splitlines()))
    assert len(rows) == sum(one.clip.num_frames for one in simulated)
    assert float(rows[3]["volume_ml"]) == pytest.approx(simulated[0].truth.volume_ml[3], abs=1e-3)
    recipe = json.loads((folders / "nifti" / "phantom.json").read_text())
    assert recipe["clips"][simulated[1].name]["seed"] == 2
    assert recipe["clips"][simulated[1].name]["ed_frame"] == simulated[1].truth.ed_frame


def test_several_processes_write_the_same(tmp_path, folders):
    phantom_layout.write(tmp_path / "two", CONFIGS, "nifti", num_processes=2)
    one, two = ((root / "truth.csv").read_bytes() for root in (folders / "nifti", tmp_path / "two"))
    assert one == two


def test_an_existing_folder_is_kept_unless_told(folders):
    before = sorted(p.name for p in (folders / "avi").iterdir())
    with pytest.raises(OutputError, match="exists"):
        phantom_layout.write(folders / "avi", CONFIGS, "avi")
    assert sorted(p.name for p in (folders / "avi").iterdir()) == before


def test_what_a_layout_cannot_hold_is_refused_and_nothing_is_left(tmp_path):
    sideways = [PhantomConfig(view=View.ALAX)]
    for layout in ("camus", "echonet"):
        with pytest.raises(ConfigError, match=f"view must be .* in the {layout} layout"):
            phantom_layout.write(tmp_path / layout, sideways, layout)
    with pytest.raises(ConfigError, match="layout must be one of"):
        phantom_layout.write(tmp_path / "x", CONFIGS, "zip")
    assert list(tmp_path.iterdir()) == []


def test_a_run_cut_off_leaves_nothing(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        phantom_layout.write(tmp_path / "cut", CONFIGS, "avi", progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_statistics_read_both_layouts_and_refuse_others(folders, tmp_path):
    for layout, number in (("camus", 4), ("echonet", 4)):
        assert len(list(dataset.stills_of(folders / layout))) == number
    with pytest.raises(DatasetError, match="is not a known data set"):
        list(dataset.stills_of(tmp_path))


def test_force_replaces_the_phantoms_own_folders(tmp_path):
    for layout in phantom_layout.LAYOUTS:
        for _ in range(2):
            phantom_layout.write(tmp_path / "out", CONFIGS[:1], layout, force=True)
        assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("place", ["thesis.txt", "database_nifti/thesis.txt", "phantom.txt"])
@pytest.mark.parametrize("ours", [True, False])
def test_force_never_takes_what_the_phantom_did_not_write(tmp_path, place, ours):
    folder = tmp_path / "out"
    if ours:
        phantom_layout.write(folder, CONFIGS[:1], "camus")
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).write_text("years of work")
    before = sorted(folder.rglob("*"))
    with pytest.raises(OutputError, match=r"did not write.*choose another output folder"):
        phantom_layout.write(folder, CONFIGS[:1], "avi", force=True)
    assert sorted(folder.rglob("*")) == before


def test_a_file_or_a_name_too_long_is_refused_before_any_filming(tmp_path, monkeypatch):
    monkeypatch.setattr(phantom_layout, "simulate_all", None)
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "sub", tmp_path / ("n" * 300)):
        with pytest.raises(OutputError, match="choose another"):
            phantom_layout.write(path, CONFIGS, "avi", force=True)


def test_two_clips_of_one_name_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="phantom000001_A4C_medium occurs twice"):
        phantom_layout.write(tmp_path / "x", [CONFIGS[0], CONFIGS[0]], "avi")
    with pytest.raises(ConfigError, match="at least one clip"):
        phantom_layout.write(tmp_path / "x", [], "avi")
    assert list(tmp_path.iterdir()) == []


def test_the_layouts_label_one_beat_and_the_recipe_says_which(tmp_path):
    config = PhantomConfig(
        seed=0, size_px=64, num_frames=100, frame_rate_hz=30, rhythm=Rhythm.PREMATURE
    )
    one = dataset.simulate(config)
    assert (one.truth.ed_frame, one.truth.es_frame) not in one.truth.beats  # of different beats
    for layout in ("camus", "echonet"):
        phantom_layout.write(tmp_path / layout, [config], layout)
        recipe = json.loads((tmp_path / layout / "phantom.json").read_text())
        told = recipe["clips"][one.name]["labelled"]
        ed_frame, es_frame = told["ed_frame"], told["es_frame"]
        assert (ed_frame, es_frame) in one.truth.beats
        volumes = one.truth.volume_ml
        ef_percent = 100 * (1 - volumes[es_frame] / volumes[ed_frame])
        assert told["ef_percent"] == pytest.approx(ef_percent, abs=1e-3)
    clip, known = camus.collect(tmp_path / "camus")[1]
    assert clip.num_frames == es_frame - ed_frame + 1
    assert known.ef_percent == pytest.approx(ef_percent, abs=1e-3)
    assert np.array_equal(known.masks, one.truth.masks[ed_frame : es_frame + 1])
    told = json.loads((tmp_path / "camus" / "phantom.json").read_text())["clips"]
    assert {clip["labelled"]["patient"] for clip in told.values()} == {"patient0001"}


def test_a_single_frame_has_no_ejection_fraction_and_no_file(tmp_path):
    config = PhantomConfig(size_px=64, num_frames=1)
    assert dataset.simulate(config).annotation.ef_percent is None
    with pytest.raises(ConfigError, match=r"num_frames must be at least 2, .* got 1"):
        phantom_layout.write(tmp_path / "x", [config], "nifti")


def test_a_process_that_dies_is_told_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(dataset, "simulate", _die)
    with pytest.raises(DatasetError, match=r"was killed.* fewer"):
        phantom_layout.write(tmp_path / "x", CONFIGS, "avi", num_processes=2)
    assert list(tmp_path.iterdir()) == []


def _die(config):
    os._exit(9)
