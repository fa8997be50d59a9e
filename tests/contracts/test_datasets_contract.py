"""What every entry of DATASETS must hold, on a tiny copy of its layout."""

import pickle
from collections import defaultdict

import numpy as np
import pytest

from dataset_makers import MAKERS
from echoseg.clip import Annotation, Clip, Label, View
from echoseg.data import DATASETS, detect, load_dataset
from echoseg.errors import DatasetError, EchosegError

MADE = {}


@pytest.fixture(params=DATASETS)
def made(request, tmp_path_factory):
    """Return the key and the copy of each data set; a copy is made once and only read."""
    name = request.param
    if name not in MADE:
        MADE[name] = MAKERS[name](tmp_path_factory.mktemp("data") / name)
    return name, MADE[name]


def test_every_data_set_has_a_maker():
    assert MAKERS.keys() == DATASETS.keys()


def test_it_is_recognised_and_nothing_else_is(made):
    name, copy = made
    assert detect(copy.root) == name
    others = [other for other in DATASETS if other not in (name, "custom")]
    assert not any(DATASETS[other].detect(copy.root) for other in others)


def test_records_have_unique_names_and_the_splits_of_the_files(made):
    name, copy = made
    dataset = load_dataset(copy.root)
    assert dataset.name == name
    assert sorted(record.name for record in dataset.records) == sorted(copy.names)
    assert dataset.splits() == dict(sorted(copy.splits.items()))
    assert sum(len(dataset.split(split)) for split in copy.splits) == len(copy.names)


def test_a_data_set_is_a_sequence_of_loaded_clips(made):
    name, copy = made
    data = load_dataset(str(copy.root))
    assert len(data) == len(copy.names) == len(list(data))
    clip, annotation = data[-1]
    again, _ = data.records[-1].load()
    assert np.array_equal(clip.frames, again.frames)
    assert (annotation is None) == (not data.records[-1].labelled)
    assert repr(data).startswith(f"Dataset({name!r}, {str(copy.root)!r}, {len(data)} clips: ")
    assert len(repr(data)) < 200 and len(repr(data.records[0])) < 200
    with pytest.raises(IndexError):
        data[len(data)]


def test_no_patient_is_in_two_splits(made):
    splits = defaultdict(set)
    for record in load_dataset(made[1].root).records:
        splits[record.patient].add(record.split)
    assert all(len(where) == 1 for where in splits.values())


def test_every_record_loads_a_clip_and_what_fits_it(made):
    _, copy = made
    for record in load_dataset(copy.root).records:
        clip, known = record.load()
        assert isinstance(clip, Clip)
        assert clip.view == record.view
        assert record.view in set(View)
        assert (known is not None) == record.labelled
        assert all(path.exists() for path in record.files)
        if known is None:
            continue
        assert isinstance(known, Annotation)
        known.check_fits(clip)
        assert known.quality == record.quality
        assert known.labelled_frames
        for frame in known.labelled_frames:
            assert (known.masks[frame] == Label.LV_CAVITY).any()
        if known.ed_frame is not None and known.es_frame is not None:
            areas = (known.masks == Label.LV_CAVITY).sum((1, 2))
            assert areas[known.ed_frame] > areas[known.es_frame]
    assert copy.labelled == any(record.labelled for record in load_dataset(copy.root).records)


def test_loading_twice_gives_the_same_and_a_record_can_be_sent_to_a_process(made):
    record = load_dataset(made[1].root).records[0]
    clip, known = record.load()
    again, known_again = pickle.loads(pickle.dumps(record)).load()
    assert np.array_equal(clip.frames, again.frames)
    assert (known is None) == (known_again is None)
    if known is not None:
        assert np.array_equal(known.masks, known_again.masks)


def test_a_split_that_is_not_there_is_refused_with_those_that_are(made):
    with pytest.raises(DatasetError, match=r"has no split 'moon'; it has "):
        load_dataset(made[1].root).split("moon")


def test_a_broken_picture_is_refused_when_loaded_and_named(made, tmp_path):
    name, _ = made
    copy = MAKERS[name](tmp_path / "copy")
    record = load_dataset(copy.root).records[0]
    path = record.files[0]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if path.suffix != ".mhd" else b"NDims = 3\n")
    with pytest.raises(EchosegError) as caught:
        record.load()
    assert path.name.split(".")[0] in str(caught.value)
    assert "\n" not in str(caught.value)
