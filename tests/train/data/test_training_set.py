from dataclasses import replace

import numpy as np
import pytest
import torch

from dataset_makers import MAKERS
from echoseg.clip import View
from echoseg.data import load_dataset
from echoseg.data.cache import prepare
from echoseg.data.torch_dataset import ClipCache, TorchDataset
from echoseg.errors import ConfigError, DatasetError
from echoseg.losses import IGNORE_LABEL
from echoseg.train.config import train_config
from echoseg.train.data.batches import Batches
from echoseg.train.data.sources import Reader
from echoseg.train.data.training_set import joined, phases_of
from echoseg.train.train import open_data
from train.makers import disk_clip, disk_set, set_of, sparse


def reader(size_px: int = 64) -> Reader:
    return Reader(size_px, ClipCache())


def labeled_patients(data) -> set[str]:
    return {
        name for name, is_labeled in zip(data.patients, data.is_labeled, strict=True) if is_labeled
    }


def draws(data, num_frames, index=0, num=40, **kwargs):
    generator = torch.Generator().manual_seed(1)
    return [data.draw(index, num_frames, generator, **kwargs) for _ in range(num)]


def test_a_smaller_fraction_of_patients_is_part_of_a_larger_one():
    data = disk_set(20)
    few, more = (labeled_patients(data.labeled_fraction(part, seed=4)) for part in (0.1, 0.5))
    assert (len(few), len(more)) == (2, 10)
    assert few < more
    assert labeled_patients(data.labeled_fraction(0.1, seed=5)) != few


def test_hidden_masks_are_not_drawn_and_stay_for_metrics():
    data = disk_set(10).labeled_fraction(0.2)
    hidden = int((~data.is_labeled).nonzero()[0])
    draw = draws(data, 2, hidden, 1)[0]
    assert (draw.masks == IGNORE_LABEL).all()
    assert (draw.all_masks != IGNORE_LABEL).all()


def test_a_patient_with_several_clips_is_labeled_or_not_as_a_whole():
    data = replace(disk_set(12), patients=tuple(f"p{n // 2}" for n in range(12)))
    chosen = data.labeled_fraction(0.5).is_labeled
    assert chosen.sum() == 6
    assert torch.equal(chosen[::2], chosen[1::2])


def test_frame_sparse_keeps_the_largest_and_the_smallest_cavity_only():
    assert disk_set(3, num_frames=5).ed_es_only().usable_frames(1) == (0, 4)


@pytest.mark.parametrize("fraction", [-0.1, 1.5, 0.01])
def test_a_fraction_that_leaves_no_patient_is_refused(fraction):
    with pytest.raises(ConfigError, match="labeled_fraction must"):
        disk_set(20).labeled_fraction(fraction)


def test_consecutive_frames_hold_a_labeled_one():
    clips = sparse(disk_set(1, num_frames=40).sources[0].clips, (3, 30))
    for draw in draws(set_of(clips), 5, sampling="consecutive"):
        steps = draw.times.diff()
        assert (steps == 1).all() or (steps == -1).all()
        assert set(draw.times.tolist()) & {3, 30}


def test_frames_spread_from_ed_to_es_hold_both():
    clip = disk_clip(torch.Generator().manual_seed(0), 32, 40)
    clip = replace(sparse([clip], (4, 24))[0], ed_frame=4, es_frame=24)
    for draw in draws(set_of([clip]), 6, sampling="ed_to_es"):
        assert draw.times.tolist() in ([4, 8, 12, 16, 20, 24], [24, 20, 16, 12, 8, 4])
        assert draw.statistics[0] == pytest.approx(0.08)  # 4 frames at 50 Hz
    singles = {int(draw.times) for draw in draws(set_of([clip]), 1, sampling="ed_to_es")}
    assert singles == {4, 24}


def test_mixed_sampling_draws_both_kinds():
    clip = replace(disk_clip(torch.Generator().manual_seed(0), 32, 40), ed_frame=4, es_frame=24)
    steps = {int(draw.times.diff().abs()[0]) for draw in draws(set_of([clip]), 6)}
    assert steps == {1, 4}


def test_stills_stand_before_and_after_and_short_clips_are_reflected():
    data = disk_set(1)
    stills = replace(data, are_stills=torch.tensor([True]))
    for draw in draws(stills, 5):
        assert set(draw.times.tolist()) == {0, 1}
        assert draw.times.tolist() in (sorted(draw.times), sorted(draw.times, reverse=True))
    short = disk_set(1, num_frames=3)
    for draw in draws(short, 6):
        assert draw.times.tolist() in ([0, 1, 2, 1, 0, 1], [1, 0, 1, 2, 1, 0])


def test_short_clips_are_counted_apart_from_stills():
    stills = replace(disk_set(3), are_stills=torch.ones(3, dtype=torch.bool))
    data = joined([stills, disk_set(4, num_frames=5), disk_set(2, num_frames=8)])
    assert data.short_clips(5) == ""
    assert data.short_clips(8) == (
        "4 of 6 clips that were looked at are shorter than num_frames=8; these are played forwards "
        "and backwards"
    )
    with pytest.raises(ConfigError, match=r"at most 8, .* got 9; set num_frames=8, or give longer"):
        data.short_clips(9)
    assert stills.short_clips(9) == ""


def test_one_long_clip_among_many_is_found_before_short_ones_are_refused():
    generator = torch.Generator().manual_seed(0)
    clips = [disk_clip(generator, 16, 9 if index == 41 else 3) for index in range(100)]
    assert set_of(clips).short_clips(9).startswith("32 of 32 clips that were looked at")


def test_phases_rise_from_ed_to_es():
    clip = disk_clip(torch.Generator().manual_seed(0), 32, 5)
    assert phases_of(clip)[[0, 4]].tolist() == pytest.approx([0, 0.4])
    partly = replace(sparse([clip], (1, 3))[0], ed_frame=3, es_frame=1)
    assert phases_of(partly).nan_to_num(-1).tolist() == pytest.approx([-1, 0.4, 0.2, 0, -1])
    assert phases_of(sparse([clip], (1, 3))[0]).isnan().all()


def test_sets_of_other_lengths_and_labels_join_without_loss():
    long = disk_set(3, num_frames=40)
    short = set_of([disk_clip(torch.Generator(), 32, 2, labels=(0, 1)) for _ in range(2)])
    both = joined([long, short])
    assert len(both.clip(0).frames) == 40
    assert len(both.clip(4).frames) == 2
    assert draws(both, 2, 4, 1)[0].known_labels.tolist() == [True, True, False, False]


def test_weights_say_how_often_a_set_is_drawn():
    both = joined([disk_set(30, num_labeled=6), disk_set(2)], (0.25, 0.75))
    shares = both.weights[both.is_labeled] / both.weights[both.is_labeled].sum()
    assert shares[:6].sum() == pytest.approx(0.25)
    with pytest.raises(ConfigError, match="data_weights"):
        joined([disk_set(3), disk_set(2)], (1.0,))


def test_extra_data_keeps_its_masks_and_is_drawn_as_often_as_asked():
    config = train_config(
        data=("phantom:20",),
        labeled_fraction=0.1,
        extra_data=("phantom:3:900",),
        extra_data_fraction=0.25,
        image_size=64,
    )
    training_set, validation, sources = open_data(config)
    assert validation is None
    assert len(sources) == 2
    labeled = training_set.is_labeled
    assert (int(labeled[:20].sum()), int(labeled[20:].sum())) == (2, 3)
    weights = training_set.weights * labeled
    assert weights[20:].sum() / weights.sum() == pytest.approx(0.25)


def test_without_labels_the_masks_come_from_extra_data_alone():
    fields = {"labeled_fraction": "0", "unlabeled_data": ("phantom:4:50",), "image_size": 64}
    config = train_config(data=("phantom:6",), extra_data=("phantom:3:900",), **fields)
    training_set, _, sources = open_data(config)
    assert len(sources) == 3
    assert training_set.is_labeled.nonzero()[:, 0].tolist() == [6, 7, 8]
    assert training_set.is_target.tolist() == [True] * 6 + [False] * 3 + [True] * 4
    batch = Batches(training_set, config, 2, 10)[0]
    assert set(batch.clips[:2].tolist()) <= {6, 7, 8}
    assert sorted(batch.clips[2:].tolist()) == [*range(6), *range(9, 13)]
    assert (batch.masks[2:] == IGNORE_LABEL).all()


def test_extra_data_never_plays_an_unlabeled_clip():
    config = train_config(data=("phantom:2",), extra_data=("phantom:5:900",), image_size=64)
    batch = Batches(open_data(config)[0], config, 1, 2)[0]
    assert sorted(batch.clips[1:].tolist()) == [0, 1]


def test_phases_of_an_unlabeled_clip_do_not_come_from_its_masks():
    data = disk_set(4, num_frames=6, num_labeled=1)
    known, unknown = (draws(data, 6, index, 1)[0].phases for index in (0, 1))
    assert not known.isnan().any()
    assert unknown.isnan().all()


def test_phases_of_a_frame_sparse_clip_do_not_come_from_its_hidden_masks():
    (clip,) = disk_set(1, num_frames=12).sources[0].clips
    marked = replace(clip, ed_frame=0, es_frame=11)
    hidden = torch.cat([clip.masks[:1], clip.masks[[7] * 10], clip.masks[-1:]])
    one, other, unmarked = (
        draws(set_of([each]).ed_es_only(), 12, num=1)[0].phases
        for each in (marked, replace(marked, masks=hidden), clip)
    )
    assert torch.equal(one, other)
    assert sorted(one.tolist()) == pytest.approx([0.4 * t / 11 for t in range(12)], abs=1e-6)
    assert unmarked.isnan().all()
    stills = draws(disk_set(1, num_frames=2).ed_es_only(), 2, num=1)[0]
    assert sorted(stills.phases.tolist()) == pytest.approx([0, 0.4])  # every mask may be used


def test_an_npz_file_is_read(tmp_path):
    clips = disk_set(3, num_frames=4).sources[0].clips
    frames, masks = (
        np.stack([getattr(c, name).numpy() for c in clips]) for name in ("frames", "masks")
    )
    np.savez(tmp_path / "clips.npz", frames=frames, masks=masks)
    opened = reader(32).open(str(tmp_path / "clips.npz")).clips
    assert torch.equal(opened.clip(2).masks, clips[2].masks)
    assert torch.equal(opened.clip(2).frames, clips[2].frames)


@pytest.mark.parametrize("content", [b"", b"no numpy file", None])
def test_a_file_that_holds_no_clips_is_refused(tmp_path, content):
    path = tmp_path / "clips.npz"
    if content is None:
        np.savez(path, frames=np.zeros((2, 3)))
    else:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"must be an \.npz file with frames and masks"):
        reader().open(str(path))


@pytest.mark.parametrize("name", ["phantom:", "phantom:x", "phantom:0", "phantom:1:2:3"])
def test_a_number_of_phantom_clips_must_be_one(name):
    with pytest.raises(ConfigError, match="phantom:N"):
        reader().open(name)


def test_a_folder_of_unknown_layout_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="not a known data set"):
        reader().open(str(tmp_path))
    with pytest.raises(DatasetError, match="is not there"):
        reader().open(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("dataset", "labels", "licence"),
    [
        ("camus", {0, 1, 2, 3}, "CC-BY-NC-SA-4.0"),
        ("camus_mhd", {0, 1, 2, 3}, "CC-BY-NC-SA-4.0"),
        ("ted", {0, 1, 2, 3}, "CC-BY-NC-SA-4.0"),
        ("echonet_dynamic", {0, 1}, "EchoNet-Dynamic research use"),
        ("echonet_pediatric", {0, 1}, "EchoNet-Pediatric research use"),
        ("phantom", {0, 1, 2, 3}, "Apache-2.0"),
        ("custom", {0, 1, 2, 3}, "as the data's owner allows"),
    ],
)
def test_every_data_set_gives_whole_clips(tmp_path, dataset, labels, licence):
    root = MAKERS[dataset](tmp_path / "copy").root
    source = reader().open(str(root))
    assert source.licence == licence
    assert source.clips.is_labeled.all()
    records = {record.patient + record.view: record for record in load_dataset(root).records}
    for index, (patient, view) in enumerate(
        zip(source.clips.patients, source.clips.views, strict=True)
    ):
        clip, annotation = records[patient + view].load()
        square = source.clips.clip(index)
        assert square.frames.shape == (clip.num_frames, 64, 64)
        assert square.labeled_frames == tuple(annotation.labelled_frames)
        assert square.known_labels == labels


def test_camus_gives_both_views_with_a_mask_on_every_frame(tmp_path):
    clips = reader().open(str(MAKERS["camus"](tmp_path).root)).clips
    assert {View.A2C, View.A4C} <= set(clips.views)
    moving = [index for index in range(len(clips)) if not clips.are_stills[index]]
    assert moving
    for index in moving:
        clip = clips.clip(index)
        assert clip.labeled_frames == tuple(range(len(clip.frames)))
        assert len(clip.frames) > 2


def test_views_that_are_not_used_are_refused_by_name(tmp_path):
    with pytest.raises(DatasetError, match="must have A4C or A2C clips to take the split train"):
        reader().open(str(MAKERS["echonet_lvh"](tmp_path).root))


def test_custom_clips_without_masks_are_unlabeled(tmp_path):
    root = MAKERS["custom"](tmp_path).root
    min(root.rglob("*_masks.nii.gz")).unlink()
    clips = reader().open(str(root)).clips
    assert clips.is_labeled.tolist() == [False, True]
    assert phases_of(clips.clip(0)).isnan().all()


def test_a_cache_is_read_like_what_it_was_made_from(tmp_path):
    dataset = load_dataset(MAKERS["echonet_dynamic"](tmp_path / "copy").root)
    prepare(dataset, tmp_path / "cache", 64)
    cached, other = (reader().open(str(path)) for path in (tmp_path / "cache", dataset.root))
    assert (cached.licence, cached.notice) == (other.licence, other.notice)
    assert cached.clips.patients == other.clips.patients
    one, two = cached.clips.clip(0), other.clips.clip(0)
    assert torch.equal(one.frames, two.frames)
    assert torch.equal(one.masks, two.masks)
    assert (one.labeled_frames, one.ed_frame, one.es_frame) == (
        two.labeled_frames, two.ed_frame, two.es_frame
    )  # fmt: skip
    assert len(reader().open_validation((str(tmp_path / "cache"),), None)) == 1


def test_validation_is_that_of_the_first_data_set_that_has_one(tmp_path):
    custom = str(MAKERS["custom"](tmp_path / "own").root)
    echonet = str(MAKERS["echonet_dynamic"](tmp_path / "echonet").root)
    assert reader().open_validation((custom,), None) is None
    assert len(reader().open_validation((custom, "phantom:1", echonet), None)) == 1


def test_the_summary_tells_what_training_will_see():
    clips = disk_set(4, num_frames=10, num_labeled=2)
    line = clips.summary()
    assert "4 clips (4 A4C), 2 with masks" in line
    assert "frame interval 20 ms, length 10 frames, EF unknown, 50% of the frames labeled" in line


def test_items_of_any_map_style_data_set_can_be_drawn(tmp_path):
    own = load_dataset(MAKERS["custom"](tmp_path).root)
    items = TorchDataset(own.records, size=64, num_frames=None)
    foreign = reader().open([items[index] for index in range(len(items))]).clips
    direct = reader().open(items).clips
    for index in range(len(items)):
        assert torch.equal(foreign.clip(index).frames, direct.clip(index).frames)
        assert torch.equal(foreign.clip(index).masks, direct.clip(index).masks)
    with pytest.raises(ConfigError, match="must have frames T 1 32 32"):
        reader(32).open([items[0]]).clips.clip(0)
    with pytest.raises(ConfigError, match="must be a dict"):
        reader(32).open([3]).clips.clip(0)
    with pytest.raises(TypeError, match="data must be"):
        reader().open(3)


@pytest.mark.parametrize("name", ["camus", "echonet_dynamic"])
def test_a_torch_data_set_is_opened_like_the_data_set_it_was_made_of(tmp_path, name):
    data = load_dataset(MAKERS[name](tmp_path).root)
    assert {"validation", "test"} <= set(data.splits())

    def darker(item):
        return {**item, "frames": item["frames"] / 2}

    whole, validation = reader().open(data), reader().open_validation([data], None)
    assert set(whole.clips.patients).isdisjoint(validation.patients)
    for items in (
        data.to_torch(size=64),
        data.to_torch(size=64, num_frames=None, transform=darker),
    ):
        opened = reader().open(items)
        assert opened[1:] == whole[1:]
        scored = reader().open_validation([items], None)
        given = reader().open_validation(["phantom:1"], items)
        pairs = (opened.clips, whole.clips), (scored, validation), (given, validation)
        for one, other in pairs:
            assert (one.patients, one.views) == (other.patients, other.views)
            assert torch.equal(one.are_stills, other.are_stills)
            assert torch.equal(one.is_labeled, other.is_labeled)
            clip, same = one.clip(0), other.clip(0)
            assert clip.known_labels == same.known_labels
            assert torch.equal(clip.masks, same.masks)
            factor = 2 if items.transform else 1
            assert (factor * clip.frames.int() - same.frames).abs().max() <= 1
    alone = reader().open(TorchDataset(data.records, size=64))
    assert (alone.clips.patients, alone.licence) == (
        whole.clips.patients, "as the data's owner allows"
    )  # fmt: skip
    assert len(reader().open_validation([], TorchDataset(data.split("test").records))) == len(
        [record for record in data.split("test").records if record.view in ("A4C", "A2C")]
    )


def test_custom_clips_without_splits_validate_and_training_patients_do_not(tmp_path):
    custom = str(MAKERS["custom"](tmp_path / "own").root)
    assert len(reader().open_validation(("phantom:1",), custom)) == 2
    camus = MAKERS["camus"](tmp_path / "camus").root
    with pytest.raises(DatasetError, match=r"animated:.* to take the split train, it has none; all "
                       r"its clips: test \(\d"):  # fmt: skip
        reader().open(f"animated:{camus}:test")
    with pytest.raises(DatasetError, match=r"or no splits at all, .* has test \(2\); give"):
        reader().open_validation(("phantom:1",), f"animated:{camus}:test")


def test_unlabeled_data_that_are_the_data_are_refused():
    with pytest.raises(ConfigError, match="unlabeled_data must be other clips than data, 'D/' is"):
        train_config(data=("D",), unlabeled_data=("E", "D/"))


def test_one_name_of_data_needs_no_list():
    config = train_config(data="D", extra_data="phantom:4", unlabeled_data="E")
    assert (config.data, config.extra_data, config.unlabeled_data) == (
        ("D",),
        ("phantom:4",),
        ("E",),
    )
