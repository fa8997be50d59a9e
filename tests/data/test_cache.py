"""A cache holds what was read, goes on where it was cut, and trusts nothing but hashes."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from animated_makers import write_camus
from dataset_makers import make_camus, make_echonet_dynamic
from echoseg.cli import app
from echoseg.data import cache as cache_module
from echoseg.data import load_dataset
from echoseg.data.animate_config import AnimationConfig
from echoseg.data.animated import animate_dataset
from echoseg.data.cache import CachedClips, clip_file, on_square, prepare
from echoseg.data.hashing import hash_record, hash_sources
from echoseg.data.torch_dataset import ClipCache
from echoseg.errors import ConfigError, DatasetError, OutputError
from echoseg.io.nifti import write_masks
from echoseg.train.data.sources import Reader


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


ROW = {"clip": "a.npy", "patient": "p1", "split": "train", "masks": "a_masks.nii.gz",
       "labelled_frames": "0 3", "ed_frame": "0", "es_frame": "3", "ef_percent": "40", "fps": "30",
       "row_mm": "0.5", "column_mm": "0.5"}  # fmt: skip


def write_table(root, **changes):
    """A table of clips a.npy, with changes, and b.npy."""
    root.mkdir(exist_ok=True)
    masks = np.zeros((4, 32, 32), np.uint8)
    masks[:, 10:20, 10:20] = 1
    for name in "ab":
        np.save(root / f"{name}.npy", np.random.default_rng(1).integers(0, 255, masks.shape, "u1"))
        write_masks(root / f"{name}_masks.nii.gz", masks, (0.5, 0.5), 0.03)
    rows = [ROW | changes, ROW | {"clip": "b.npy", "patient": "p2", "masks": "b_masks.nii.gz"}]
    lines = [",".join(row.values()) for row in ({name: name for name in ROW}, *rows)]
    (root / "clips.csv").write_text("\n".join(lines) + "\n")
    return load_dataset(root)


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"split": "test"}, "split", "test"),
        ({"patient": "p7"}, "patient", "p7"),
        ({"labelled_frames": "0 2 3"}, "labelled_frames", (0, 2, 3)),
        ({"ed_frame": "3", "es_frame": "0"}, "ed_frame", 3),
        ({"ef_percent": "55"}, "ef_percent", 55),
        ({"fps": "60"}, "frame_rate_hz", pytest.approx(60)),
        ({"row_mm": "0.7"}, "spacing_mm", pytest.approx((0.7, 0.5))),
    ],
)
def test_a_clip_whose_row_of_the_table_changed_is_written_again(tmp_path, changes, field, value):
    prepare(write_table(tmp_path / "data"), tmp_path / "cache", 32)
    before = CachedClips(tmp_path / "cache").entries
    done = prepare(write_table(tmp_path / "data", **changes), tmp_path / "cache", 32)
    assert (done.written, done.reused) == (1, 1)
    after = CachedClips(tmp_path / "cache").entries
    assert after[1] == before[1]
    assert (getattr(before[0], field), getattr(after[0], field)) != (value, value)
    assert getattr(after[0], field) == value


def test_a_data_set_that_was_moved_has_the_same_hashes_in_every_process(tmp_path):
    """Folders do not count, nor does the order of sets, which differs between processes."""
    write_table(tmp_path / "data")
    write_camus(tmp_path / "stills")
    (tmp_path / "data").rename(tmp_path / "moved")
    code = (
        "import sys, echoseg; from echoseg.data.hashing import hash_record\n"
        "print([hash_record(record) for name in sys.argv[1:]"
        " for record in echoseg.load_dataset(name).records])"
    )
    names = [str(tmp_path / "moved"), f"animated:{tmp_path / 'stills'}"]
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code, *names],
            env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True,
        ).stdout
        for seed in "12"
    }  # fmt: skip
    here = [hash_record(record) for name in names for record in load_dataset(name).records]
    assert hashes == {f"{here}\n"} and len(set(here)) == len(here) and all(here)
    (tmp_path / "moved").rename(tmp_path / "data")
    assert hash_record(load_dataset(tmp_path / "data").records[0]) == here[0]


def test_equal_records_have_one_hash_whichever_of_their_texts_are_one_object(tmp_path):
    write_table(tmp_path / "data")
    record = load_dataset(tmp_path / "data").records[0]
    again = replace(record, name="".join(list(record.name)), patient="".join(list(record.patient)))
    other = replace(record, name=record.files[0].name)
    assert hash_record(record) == hash_record(again) == hash_record(other) != ""


def test_animated_clips_and_others_share_no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ECHOSEG_CACHE_DIR", str(tmp_path / "kept"))
    write_camus(tmp_path / "camus")
    plain = load_dataset(tmp_path / "camus").split("train")
    prepare(plain, tmp_path / "plain", 32)
    short, long = (animate_dataset(plain, config=AnimationConfig(num_frames=n)) for n in (8, 12))
    with pytest.raises(ConfigError, match="started with dataset=camus, got animated:camus"):
        prepare(short, tmp_path / "plain", 32)
    for data in (short, long):
        assert prepare(data, tmp_path / "a", 32).written == 2
    assert {entry.num_frames for entry in CachedClips(tmp_path / "a").entries} == {12}
    assert prepare(long, tmp_path / "a", 32).reused == 2
    source = Reader(size_px=32, cache=ClipCache()).open(tmp_path / "a")
    assert source.licence == "CC-BY-NC-SA-4.0"
    assert source.words == "the training clips of CAMUS, animated from ED and ES"


def test_a_cache_of_the_version_before_is_trained_on_and_written_anew(tmp_path, dataset):
    """Its hash was of the files alone."""
    prepare(dataset, tmp_path / "cache", 32)
    for record in dataset.records:
        path = (tmp_path / "cache" / clip_file(record.name)).with_suffix(".json")
        entry = json.loads(path.read_text()) | {"source_sha256": hash_sources(record)}
        path.write_text(json.dumps(entry))
    assert len(load_dataset(tmp_path / "cache")) == 6
    assert prepare(dataset, tmp_path / "cache", 32).written == 6
    assert prepare(dataset, tmp_path / "cache", 32).reused == 6


def test_a_record_that_cannot_be_hashed_is_written_each_time(tmp_path, dataset):
    records = [
        replace(record, read=lambda record=record: record.load()) for record in dataset.records
    ]
    own = replace(dataset, records=tuple(records))
    for _ in range(2):
        assert prepare(own, tmp_path / "cache", 32).written == 6


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
