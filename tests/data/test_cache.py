"""A cache holds what was read, goes on where it was cut, and trusts nothing but hashes."""

import json
import os

import numpy as np
import pytest
from typer.testing import CliRunner

from dataset_makers import make_camus, make_echonet_dynamic
from echoseg.cli import app
from echoseg.data import cache as cache_module
from echoseg.data import load_dataset
from echoseg.data.cache import CachedClips, clip_file, on_square, prepare
from echoseg.errors import ConfigError, DatasetError, OutputError


@pytest.fixture
def dataset(tmp_path):
    return load_dataset(make_camus(tmp_path / "camus").root)


def test_a_cache_holds_what_the_reader_gives(tmp_path, dataset):
    prepare(dataset, tmp_path / "cache", 64)
    clips = CachedClips(tmp_path / "cache")
    assert (len(clips), clips.size_px, clips.dataset) == (6, 64, "camus")
    for record, entry, (frames, masks) in zip(
        dataset.records, clips.entries, (clips[i] for i in range(6)), strict=True
    ):
        clip, known = record.load()
        assert isinstance(frames, np.memmap)
        assert (entry.name, entry.split) == (record.name, record.split)
        assert np.array_equal(np.concatenate([frames, masks]), on_square(clip, known, 64))
        # 64 x 48 fits into 64 x 64 as it is
        assert entry.box == (0, 8, 64, 56)
        assert entry.spacing_mm == pytest.approx(clip.spacing_mm)
        assert np.array_equal(frames[:, :, 8:56], clip.frames)
        assert np.array_equal(masks[:, :, 8:56], known.masks[list(known.labelled_frames)])


def test_each_axis_has_its_own_spacing_on_another_grid(tmp_path, dataset):
    prepare(dataset, tmp_path / "cache", 50)
    entry = CachedClips(tmp_path / "cache").entries[0]
    top, left, bottom, right = entry.box
    assert (bottom - top, right - left) == (50, 38)
    assert entry.spacing_mm == pytest.approx((0.4 * 64 / 50, 0.7 * 48 / 38))


def test_what_is_there_is_kept_and_a_second_run_changes_nothing(tmp_path, dataset):
    first = prepare(dataset, tmp_path / "cache", 32)
    before = (tmp_path / "cache" / "cache.json").read_bytes()
    again = prepare(dataset, tmp_path / "cache", 32)
    assert (first.written, first.reused) == (6, 0)
    assert (again.written, again.reused) == (0, 6)
    assert (tmp_path / "cache" / "cache.json").read_bytes() == before
    assert sorted(os.listdir(tmp_path / "cache")) == ["cache.json", "clips"]


def test_an_interrupted_run_is_continued(tmp_path, dataset, monkeypatch):
    def cut(done, total):
        if done == 3:
            raise KeyboardInterrupt

    cache = tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt):
        prepare(dataset, cache, 32, progress=cut)
    with pytest.raises(DatasetError, match="holds no complete cache; run `echoseg data prepare"):
        CachedClips(cache)
    first, second = (cache / clip_file(dataset.records[k].name) for k in (0, 1))
    first.with_suffix(".npy").unlink()
    second.with_suffix(".json").write_text("{")
    done = prepare(dataset, cache, 32)
    assert (done.written, done.reused) == (5, 1)
    assert len(CachedClips(cache)) == 6


def test_a_clip_whose_source_changed_is_written_again(tmp_path, dataset):
    prepare(dataset, tmp_path / "cache", 32)
    cfg = dataset.records[1].files[-1]
    cfg.write_text(cfg.read_text() + "More: 1\n")
    done = prepare(dataset, tmp_path / "cache", 32)
    assert (done.written, done.reused) == (1, 5)
    assert prepare(dataset, tmp_path / "cache", 32).reused == 6


def test_several_processes_write_the_same_bytes(tmp_path, dataset):
    for jobs in (1, 2):
        prepare(dataset, tmp_path / f"cache{jobs}", 32, jobs=jobs)
    one, two = (CachedClips(tmp_path / f"cache{jobs}") for jobs in (1, 2))
    assert one.entries == two.entries
    assert (tmp_path / "cache1" / "cache.json").read_bytes() == (
        tmp_path / "cache2" / "cache.json"
    ).read_bytes()


def test_a_broken_clip_is_told_and_the_rest_goes_on(tmp_path, dataset):
    dataset.records[2].files[0].write_bytes(b"\x1f\x8b")
    done = prepare(dataset, tmp_path / "cache", 32)
    assert done.written == 5
    (issue,) = done.issues
    assert issue.place == dataset.records[2].name
    names = [record.name for record in dataset.records if record.name != issue.place]
    assert json.loads((tmp_path / "cache" / "cache.json").read_text())["clips"] == names


def test_a_folder_that_is_another_is_not_written(tmp_path, dataset):
    prepare(dataset, tmp_path / "cache", 32)
    with pytest.raises(ConfigError, match=r"was started with size_px=32, got 64"):
        prepare(dataset, tmp_path / "cache", 64)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("x")
    with pytest.raises(OutputError, match=r"holds thesis\.txt and no cache\.json"):
        prepare(dataset, tmp_path / "other", 32)
    with pytest.raises(ConfigError, match="size must be 16 to 2048 px, got 8"):
        prepare(dataset, tmp_path / "new", 8)
    (tmp_path / "cache" / "cache.json").write_text("{")
    with pytest.raises(OutputError, match=r"cache\.json cannot be read \(Invalid JSON"):
        prepare(dataset, tmp_path / "cache", 32)


def test_a_cache_of_other_clips_is_not_gone_on_with(tmp_path, dataset):
    """Else those of another split would be thrown away."""
    part = dataset.split("train")
    prepare(part, tmp_path / "cache", 32)
    rest = dataset.split("test")
    with pytest.raises(OutputError, match="holds 2 clips that the data set or split does not"):
        prepare(rest, tmp_path / "cache", 32)
    assert len(CachedClips(tmp_path / "cache")) == 2
    assert prepare(dataset, tmp_path / "cache", 32).reused == 2  # more than before is welcome
    with pytest.raises(ConfigError, match="is a cache; give"):
        prepare(load_dataset(tmp_path / "cache"), tmp_path / "again", 32)


def test_a_cache_opens_as_a_data_set(tmp_path, dataset):
    prepare(dataset, tmp_path / "cache", 64)
    records = load_dataset(tmp_path / "cache").records
    for one, other in zip(records, dataset.records, strict=True):
        assert (one.name, one.split, one.view, one.labels) == (
            other.name, other.split, other.view, other.labels,
        )  # fmt: skip
        (clip, known), (_, theirs) = one.load(), other.load()
        assert clip.spacing_mm == pytest.approx((0.4, 0.7), rel=0.01)
        assert known.labelled_frames == theirs.labelled_frames
        assert (known.ed_frame, known.es_frame) == (theirs.ed_frame, theirs.es_frame)
        assert np.array_equal(known.masks[:, :, 8:56], theirs.masks)


def test_a_full_disk_is_one_clear_refusal(tmp_path, dataset, monkeypatch):
    def full(path, array):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_module.np, "save", full)
    with pytest.raises(OutputError, match=r"cannot be written \(No space left"):
        prepare(dataset, tmp_path / "cache", 32)


def test_the_command_prepares_a_split_and_says_what_it_did(tmp_path):
    copy = make_echonet_dynamic(tmp_path / "copy")

    def run(*words):
        return CliRunner().invoke(app, ["data", "prepare", *map(str, words)])

    done = run(copy.root, "-o", tmp_path / "cache", "--size", 56, "--split", "val")
    assert done.exit_code == 0, done.output
    assert "1 clips written, 0 reused, at 56 px" in done.output
    assert CachedClips(tmp_path / "cache").entries[0].spacing_mm is None
    refused = run(copy.root, "-o", tmp_path / "cache", "--size", 56, "--split", "moon")
    assert refused.exit_code == 2
    assert "it has test (1), train (1), validation (1)" in refused.output
