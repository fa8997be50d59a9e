import numpy as np
import pytest
import torch

from dataset_makers import MAKERS
from echoseg.errors import ConfigError, DatasetError
from echoseg.losses import IGNORE_LABEL
from echoseg.train.config import train_config
from echoseg.train.data.batches import BatchConfig, Batches
from echoseg.train.data.pool import Pool, stored_pool
from echoseg.train.data.pool_loader import collection_pool
from echoseg.train.data.sources import join, open_source, open_validation
from echoseg.train.train import gathered
from train.makers import disk_pool


def seen(pool: Pool) -> set[str]:
    return {
        name
        for name, is_labeled in zip(pool.patients, pool.is_labeled.tolist(), strict=True)
        if is_labeled
    }


def test_a_smaller_share_of_patients_is_part_of_a_larger_one():
    pool = disk_pool(20)
    few, more = (seen(pool.labelled_share(share, seed=4)) for share in (0.1, 0.5))
    assert (len(few), len(more)) == (2, 10)
    assert few < more
    assert seen(pool.labelled_share(0.1, seed=5)) != few


def test_hidden_masks_are_gone_and_the_truth_stays():
    pool = disk_pool(10).labelled_share(0.2)
    hidden = ~pool.is_labeled
    assert (pool.masks[hidden] == IGNORE_LABEL).all()
    assert torch.equal(pool.masks[~hidden], pool.truth[~hidden])
    assert torch.equal(pool.truth, disk_pool(10).truth)


def test_a_patient_with_several_clips_is_labelled_or_not_as_a_whole():
    pool = disk_pool(12)
    twice = Pool(
        **{name: getattr(pool, name) for name in ("frames", "masks", "truth", "phases")},
        known_labels=pool.known_labels,
        weights=pool.weights,
        lengths=pool.lengths,
        patients=tuple(f"p{n // 2}" for n in range(12)),
    )
    kept = twice.labelled_share(0.5).is_labeled
    assert kept.sum() == 6
    assert torch.equal(kept[::2], kept[1::2])


def test_frame_sparse_keeps_the_largest_and_the_smallest_cavity_only():
    pool = disk_pool(3, num_frames=5).labelled_ends()
    known = (pool.masks != IGNORE_LABEL).flatten(2).any(2)
    assert known.tolist() == [[True, False, False, False, True]] * 3


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5, 0.01])
def test_a_share_that_leaves_no_patient_is_refused(share):
    with pytest.raises(ConfigError, match="labeled_fraction must"):
        disk_pool(20).labelled_share(share)


def test_an_npz_file_comes_back_with_its_phases(tmp_path):
    pool = disk_pool(3, num_frames=4)
    np.savez(tmp_path / "clips.npz", frames=pool.frames.numpy(), masks=pool.masks.numpy())
    found = stored_pool(tmp_path / "clips.npz")
    assert torch.equal(found.masks, pool.masks)
    assert found.phases[:, 0].tolist() == [0] * 3
    assert found.phases[:, -1].tolist() == pytest.approx([0.4] * 3)


@pytest.mark.parametrize("content", [b"", b"no numpy file", None])
def test_a_file_that_holds_no_clips_is_refused(tmp_path, content):
    path = tmp_path / "clips.npz"
    if content is None:
        np.savez(path, frames=np.zeros((2, 3)))
    else:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"must be an \.npz file with frames and masks"):
        stored_pool(path)


@pytest.mark.parametrize("name", ["phantom:", "phantom:x", "phantom:0", "phantom:1:2:3"])
def test_a_number_of_phantom_clips_must_be_one(name):
    with pytest.raises(ConfigError, match="phantom:N"):
        open_source(name, 64)


def test_a_folder_of_unknown_layout_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="not a known data set"):
        open_source(str(tmp_path), 64)
    with pytest.raises(DatasetError, match="is not there"):
        open_source(str(tmp_path / "none"), 64)


@pytest.mark.parametrize(
    ("dataset", "num_clips", "num_frames", "labels", "licence"),
    [
        ("camus_mhd", 1, 2, [1, 1, 1, 1], "CC-BY-NC-SA-4.0"),
        ("ted", 2, 6, [1, 1, 1, 1], "CC-BY-NC-SA-4.0"),
        ("echonet_dynamic", 1, 2, [1, 1, 0, 0], "EchoNet-Dynamic research use"),
        ("echonet_pediatric", 2, 2, [1, 1, 0, 0], "EchoNet-Pediatric research use"),
        ("phantom", 2, 6, [1, 1, 1, 1], "Apache-2.0"),
        ("custom", 2, 6, [1, 1, 1, 1], "as the data's owner allows"),
    ],
)
def test_every_data_set_can_be_learnt_from(
    tmp_path, dataset, num_clips, num_frames, labels, licence
):
    source = open_source(str(MAKERS[dataset](tmp_path / "copy").root), 64)
    assert source.licence == licence
    assert source.pool.frames.shape == (num_clips, num_frames, 64, 64)
    assert source.pool.known_labels.int().tolist() == [labels] * num_clips
    assert source.pool.is_labeled.all()
    assert set(source.pool.masks.unique().tolist()) <= {0, 1, 2, 3, IGNORE_LABEL}


def test_views_that_are_not_learnt_from_are_refused_by_name(tmp_path):
    with pytest.raises(DatasetError, match="no A4C clip of train"):
        open_source(str(MAKERS["echonet_lvh"](tmp_path).root), 64)


def test_own_clips_without_masks_are_learnt_from_unlabelled(tmp_path):
    root = MAKERS["custom"](tmp_path).root
    min(root.rglob("*_masks.nii.gz")).unlink()
    pool = open_source(str(root), 64).pool
    assert pool.is_labeled.tolist() == [False, True]
    assert pool.phases.isnan().all(1).tolist() == [True, False]


def test_a_clip_that_cannot_be_read_is_left_out_and_counted(tmp_path):
    root = MAKERS["custom"](tmp_path).root
    clip = next(path for path in sorted(root.rglob("*")) if path.suffix in (".avi", ".mp4"))
    clip.write_bytes(b"RIFF")
    source = open_source(str(root), 64)
    assert (len(source.pool), source.num_left_out) == (1, 1)


def test_a_cache_is_learnt_from_like_what_it_was_made_from(tmp_path):
    from echoseg.data import load_dataset
    from echoseg.data.cache import prepare

    collection = load_dataset(MAKERS["echonet_dynamic"](tmp_path / "copy").root)
    prepare(collection, tmp_path / "cache", 64)
    cached = open_source(str(tmp_path / "cache"), 64)
    other = open_source(str(collection.root), 64)
    assert (cached.licence, cached.notice) == (other.licence, other.notice)
    assert cached.pool.patients == other.pool.patients
    for name in ("frames", "masks", "phases", "known_labels"):
        assert torch.equal(getattr(cached.pool, name), getattr(other.pool, name)), name
    found = open_validation((str(tmp_path / "cache"),), None, 64)
    assert found is not None and len(found) == 1


def test_a_copy_without_validation_patients_is_learnt_from_unscored(tmp_path):
    root = MAKERS["camus"](tmp_path).root
    for name in ("validation", "testing"):
        (root / "database_split" / f"subgroup_{name}.txt").write_text("")
    assert open_validation((str(root),), None, 64) is None


def test_validation_is_the_first_data_set_s_that_keeps_one(tmp_path):
    own = str(MAKERS["custom"](tmp_path / "own").root)
    echonet = str(MAKERS["echonet_dynamic"](tmp_path / "echonet").root)
    assert open_validation((own,), None, 64) is None
    found = open_validation((own, "phantom:1", echonet), None, 64)
    assert found is not None and len(found) == 1


def test_pools_of_other_lengths_and_labels_join():
    long, short = disk_pool(3, num_frames=5), disk_pool(2)
    short.known_labels[:, 2:] = False
    both = join([long, short])
    assert both.frames.shape[:2] == (5, 2)
    assert torch.equal(both.frames[:3, 1], long.frames[:, 4])
    assert both.known_labels.tolist() == [[True] * 4] * 3 + [[True, True, False, False]] * 2


def test_clips_keep_the_frames_that_a_step_takes_beside_stills():
    long, short = disk_pool(3, num_frames=6), disk_pool(2)
    both = join([long, short], num_frames=4)
    assert both.lengths.tolist() == [4, 4, 4, 2, 2]
    assert torch.equal(both.frames[:3], long.frames[:, [0, 2, 3, 5]])
    assert torch.equal(both.masks[3:, :2], short.masks)
    config = BatchConfig(image_size=32, num_labeled=64, num_unlabeled=0, num_frames=4)
    batch = Batches(both, config).next()
    for clip, times in zip(batch.clips.tolist(), batch.times.tolist(), strict=True):
        own = set(range(4)) if clip < 3 else {0, 1}
        assert set(times) == own  # never a repeat behind the end
        assert times in (sorted(times), sorted(times, reverse=True))


def test_shares_say_how_often_a_source_comes():
    pool = join([disk_pool(20), disk_pool(2)], (0.1, 0.9))
    config = BatchConfig(image_size=32, num_labeled=200, num_unlabeled=0)
    clips = Batches(pool, config).next().clips
    assert 160 < (clips >= 20).sum() < 196
    with pytest.raises(ConfigError, match="data_weights"):
        join([disk_pool(2), disk_pool(2)], (1.0,))


def test_echonet_knows_the_cavity_only_and_frames_between_have_no_mask(tmp_path):
    from echoseg.data.echonet_writer import Item, write_dataset
    from echoseg.data.phantom import simulate
    from echoseg.phantom import PhantomConfig

    filmed = [simulate(PhantomConfig(seed=s, size_px=112, num_frames=24)) for s in (1, 2)]
    items = [Item(one.name, one.clip, one.annotation, "TRAIN") for one in filmed]
    write_dataset(tmp_path, items)
    pool, _ = collection_pool(tmp_path, 64, "train", num_frames=4)
    assert pool.frames.shape == (2, 4, 64, 64)
    assert pool.known_labels.tolist() == [[True, True, False, False]] * 2
    known = (pool.masks != IGNORE_LABEL).flatten(2).any(2)
    assert known.tolist() == [[True, False, False, True]] * 2
    assert set(pool.masks.unique().tolist()) == {0, 1, IGNORE_LABEL}


def test_what_lies_beside_keeps_all_its_masks_and_is_drawn_as_often_as_asked():
    config = train_config(labeled_fraction=0.1, extra_data=("phantom:1",), extra_data_fraction=0.25)
    pool = gathered([disk_pool(20)], [disk_pool(5)], config)
    assert pool.is_labeled.tolist()[20:] == [True] * 5
    assert int(pool.is_labeled[:20].sum()) == 2
    weights = pool.weights * pool.is_labeled
    assert float(weights[20:].sum() / weights.sum()) == pytest.approx(0.25)
