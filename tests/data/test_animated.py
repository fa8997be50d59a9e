"""Animated data sets: their records, splits, terms, cache and refusals."""

from dataclasses import replace

import numpy as np
import pytest

import echoseg
from animated_makers import stills, write_camus
from echoseg.data import title_of
from echoseg.data.animate_config import AnimationConfig
from echoseg.data.animated import animate_dataset, motion_of
from echoseg.data.torch_dataset import ClipCache
from echoseg.data.validate import check
from echoseg.errors import ConfigError, DatasetError
from echoseg.train.data.sources import Reader


@pytest.fixture(scope="module")
def camus(tmp_path_factory):
    root = tmp_path_factory.mktemp("camus")
    write_camus(root)
    return root


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.getbasetemp() / "echoseg-cache"  # one for all tests
    monkeypatch.setenv("ECHOSEG_CACHE_DIR", str(folder))
    return folder / "motions"


def test_each_patient_and_view_is_a_clip_in_its_own_split(camus):
    data = echoseg.load_dataset(f"animated:{camus}")
    stills = echoseg.load_dataset(camus)
    assert [(r.name, r.split) for r in data.records] == [(r.name, r.split) for r in stills.records]
    assert data.splits() == {"train": 2, "validation": 2, "test": 2}
    assert title_of(data) == "CAMUS, NIfTI release, animated"
    clip, annotation = data[0]
    assert clip.num_frames > 10
    assert clip.view is data.records[0].view
    assert len(annotation.labelled_frames) == clip.num_frames
    assert annotation.quality == "Good"


def test_a_split_by_name_holds_its_patients_only(camus):
    data = echoseg.load_dataset(f"animated:{camus}:val")
    assert {record.patient for record in data.records} == {"patient0002"}


def test_variants_differ_in_ejection_fraction_and_keep_the_patient(camus):
    stills = echoseg.load_dataset(camus).split("train")
    data = animate_dataset(stills, variants=3, config=AnimationConfig(num_frames=16))
    assert len(data) == 6
    assert {record.patient for record in data.records} == {"patient0001"}
    first = [data.records[i].load()[1].ef_percent for i in range(3)]
    assert len({round(ef, 2) for ef in first}) == 3


def test_the_motion_is_kept_and_used_again(camus, cache, monkeypatch):
    from echoseg.preprocess import registration

    data = echoseg.load_dataset(f"animated:{camus}:train")
    before = data[0][0].frames
    (path, *_) = sorted(cache.glob("*.npy"))
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(registration, "register", None)
    np.testing.assert_array_equal(data[0][0].frames, before)


def test_a_damaged_or_unwritable_cache_costs_the_registration_only(camus, tmp_path):
    stills = echoseg.load_dataset(camus).split("train")
    folder = tmp_path / "motions"
    first = animate_dataset(stills, fields=folder)[0][0].frames
    for path in folder.iterdir():
        path.write_bytes(b"damaged")
    np.testing.assert_array_equal(animate_dataset(stills, fields=folder)[0][0].frames, first)
    (tmp_path / "file").touch()
    again = animate_dataset(stills, fields=tmp_path / "file" / "motions")[0][0].frames
    np.testing.assert_array_equal(again, first)


RUBBISH = {
    "cut short": lambda good: good[:-10],
    "longer": lambda good: good + b"x",
    "empty": lambda good: b"",
    "start of an archive": lambda good: b"PK\x03\x04rubbish",
    "header without an end": lambda good: good.replace(b"}", b" "),
    "another type": lambda good: good.replace(b"<f2", b"<i2"),
    "a huge shape": lambda good: good.replace(b"(2, 64, 64)", b"(2<<60,64,)"),
    "not finite": lambda good: good[:-2] + b"\xff\x7f",
}


@pytest.mark.parametrize("kind", RUBBISH)
def test_a_motion_that_is_not_what_was_kept_is_computed_again(tmp_path, kind):
    frames, masks = stills()
    expected = motion_of(frames, masks, tmp_path)
    (path,) = tmp_path.iterdir()
    good = path.read_bytes()
    assert RUBBISH[kind](good) != good
    path.write_bytes(RUBBISH[kind](good))
    assert motion_of(frames, masks, tmp_path).equal(expected)
    assert path.read_bytes() == good


def test_training_takes_variants_of_the_training_patients_with_the_terms_of_camus(camus):
    reader = Reader(size_px=64, cache=ClipCache())
    source = reader.open(f"animated:{camus}")
    assert len(source.clips) == 8
    assert set(source.clips.patients) == {"patient0001"}
    assert not source.clips.are_stills.any()
    assert source.licence == "CC-BY-NC-SA-4.0"
    assert source.words == "the training clips of CAMUS, animated from ED and ES"
    validation = reader.open_validation([f"animated:{camus}"], None)
    assert set(validation.patients) == {"patient0002"}
    assert len(validation) == 2


def test_data_check_finds_nothing_wrong(camus):
    checkup = check(echoseg.load_dataset(f"animated:{camus}"))
    assert checkup.is_complete
    assert checkup.numbers()["labelled_frames"] == checkup.numbers()["frames"]


def test_a_patient_without_es_is_an_issue_and_not_a_clip(tmp_path):
    write_camus(tmp_path)
    (tmp_path / "database_nifti/patient0001/patient0001_4CH_ES_gt.nii.gz").unlink()
    data = echoseg.load_dataset(f"animated:{tmp_path}")
    assert "patient0001_4CH" not in {record.name for record in data.records}
    assert "patient0001_4CH_ES_gt.nii.gz" in data.issues[0].place


def test_a_clip_whose_es_is_unknown_is_refused_by_name(camus):
    stills = echoseg.load_dataset(camus).split("train")
    clip, annotation = stills[0]
    unknown = replace(stills.records[0], read=lambda: (clip, replace(annotation, es_frame=None)))
    data = animate_dataset(replace(stills, records=(unknown,)))
    with pytest.raises(DatasetError, match=r"patient0001_2CH_ED\.nii\.gz: ED and ES must be known"):
        data[0]


def test_wrong_names_are_refused(camus, tmp_path):
    with pytest.raises(DatasetError, match="with the split train, validation or test, got 'anima"):
        echoseg.load_dataset(f"animated:{camus}:night")
    with pytest.raises(DatasetError, match="must be animated:FOLDER or"):
        echoseg.load_dataset("animated:")
    with pytest.raises(DatasetError, match="does not exist"):
        echoseg.load_dataset(f"animated:{tmp_path / 'none'}")
    with pytest.raises(ConfigError, match="variants must be at least 1, got 0"):
        animate_dataset(echoseg.load_dataset(camus), variants=0)


def test_a_data_set_without_masks_is_refused(camus):
    stills = echoseg.load_dataset(camus)
    bare = tuple(replace(record, labelled=False) for record in stills.records)
    with pytest.raises(DatasetError, match="no clip has masks; animated clips need those of ED"):
        animate_dataset(replace(stills, records=bare))
