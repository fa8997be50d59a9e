"""Documents of others: whatever is wrong in them is one kind of error, in one sentence."""

import json
import math
import os

import numpy as np
import pytest
from safetensors.numpy import save_file

from calibration_makers import made
from echoseg.clip import View
from echoseg.data import load_dataset
from echoseg.data.cache import CachedClips
from echoseg.errors import ConfigError, DatasetError, EchosegError, ModelError, Unfit
from echoseg.quality.conformal import calibration_path, load_calibration
from echoseg.train.data.sources import _stored_records
from echoseg.train.run_folder import RunFolder
from echoseg.untrusted import Line, inside, parse_json, read_bytes, read_json, reading
from echoseg.weights.card import ModelCard, read_card

DEEP = "[" * 100_000
BROKEN = [b"", b"{", b"\xff\xfe", b"[]", b"1", b"null", DEEP.encode(), b'{"a": NaN}',
          b'{"a": 1e999}', b'{"clips": 3}', b'{"layout": {}}', b"9" * 5000, bytes(100)]  # fmt: skip


@pytest.mark.parametrize(
    "text", [DEEP, '{"a":' * 50_000, "NaN", "-Infinity", "1e999", "{", "9" * 5000]
)
def test_json_that_cannot_be_a_document_is_a_value_error(text):
    with pytest.raises(ValueError):
        parse_json(text)


def test_json_gives_what_is_in_it():
    value = {"a": [1, 2.5, None, "x"], "b": {"c": True}}
    assert parse_json(json.dumps(value)) == value


@pytest.mark.parametrize("content", BROKEN)
def test_every_reader_of_a_document_refuses_a_broken_one(tmp_path, content):
    trust, mark = calibration_path(tmp_path / "m.safetensors"), tmp_path / "phantom.json"
    for path in (trust, mark, tmp_path / "run.json"):
        path.write_bytes(content)
    with pytest.raises(ModelError, match="remove it or calibrate again"):
        load_calibration(tmp_path / "m.safetensors", "ab")
    with pytest.raises(DatasetError):
        load_dataset(tmp_path)
    with pytest.raises(ConfigError):
        RunFolder(tmp_path).config()


def card_file(path, card=None, config="{}"):
    fields = {"architecture": "unet", "image_size": 64, "licence": "x"} | (card or {})
    metadata = {"echoseg_format": "2", "card": json.dumps(fields), "config": config}
    save_file({"x": np.zeros(1, np.float32)}, path, metadata=metadata)
    return path


@pytest.mark.parametrize(
    "card",
    [{"image_size": size} for size in (-1, 0, 15, 10_000, 10**6, 10**30, "a", None, [64])]
    + [{"views": []}, {"views": ["A9C"]}, {"camus_validation": {"a": math.nan}}, {"other": 1},
       {"notice": "\x1b[2Jgone"}, {"licence": "x" * 10_000}, {"trained_on": 3}],
)  # fmt: skip
def test_no_card_out_of_bounds_is_read(tmp_path, card):
    with pytest.raises(ModelError, match="not a checkpoint of echoseg"):
        read_card(card_file(tmp_path / "m.safetensors", card))


@pytest.mark.parametrize("config", [DEEP, "NaN", "[1]", "{", '"a"'])
def test_no_broken_config_is_read(tmp_path, config):
    with pytest.raises(ModelError, match="not a checkpoint of echoseg"):
        read_card(card_file(tmp_path / "m.safetensors", config=config))


def test_a_network_that_its_file_does_not_hold_is_not_allocated(tmp_path):
    from echoseg.models.checkpoint import load_model

    config = json.dumps({"widths": [2**17] * 4})  # terabytes, which no machine here has
    path = card_file(tmp_path / "m.safetensors", {"architecture": "memory_unet"}, config)
    with pytest.raises(ModelError, match="weights do not fit its config"):
        load_model(str(path))


CALIBRATION = made(0.9).model_dump()
FEATURE = next(iter(CALIBRATION["weights"]))


def changed(*keys, to):
    """The calibration with one value changed, or taken away."""
    document = json.loads(json.dumps(CALIBRATION))
    *outer, last = keys
    place = document
    for key in outer:
        place = place[key]
    if to is None:
        del place[last]
    else:
        place[last] = to
    return document


@pytest.mark.parametrize(
    "document",
    [changed("level", to=value) for value in (-1, 0, 1, 1.5, 90, "a")]
    + [changed("quantiles", "all", to=dict(low=low, high=high, num_patients=num))
       for low, high, num in ((3, -3, 9), (1, 2, 9), (-1e9, 1, 9), (-1, 1, 0))]
    + [changed(name, to={}) for name in ("weights", "typical", "largest", "quantiles")]
    + [changed(name, FEATURE, to=value)
       for name in ("weights", "typical", "largest") for value in (-1, None, 1e99)]
    + [changed("num_patients", to=-3), changed("base_points", to=1e9),
       changed("part_of_beat_factor", to=0), changed("limits", "ef_percent", to=-1),
       changed("limits", "interval_points", to=1000), changed("source", to="a\nb"),
       changed("quantiles", "moon", to=dict(low=-1, high=1, num_patients=9))],
)  # fmt: skip
def test_no_calibration_out_of_bounds_is_read(tmp_path, document):
    path = calibration_path(tmp_path / "m.safetensors")
    path.write_text(json.dumps(document))
    with pytest.raises(ModelError, match="must be a calibration"):
        load_calibration(tmp_path / "m.safetensors", CALIBRATION["model_sha256"])


def test_the_calibration_itself_is_read(tmp_path):
    calibration_path(tmp_path / "m.safetensors").write_text(json.dumps(CALIBRATION))
    sha256 = CALIBRATION["model_sha256"]
    assert load_calibration(tmp_path / "m.safetensors", sha256) == made(0.9)
    assert load_calibration(tmp_path / "none.safetensors", sha256) is None


def cut(path, fraction=0.6):
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_cut_or_flipped_npz_is_refused_or_read(tmp_path, save):
    path = tmp_path / "a.npz"
    frames = np.random.default_rng(0).integers(0, 255, (2, 3, 32, 32), np.uint8)
    save(path, frames=frames, masks=frames // 64)
    assert len(_stored_records(path)) == 2
    whole, rng, num_refused = path.read_bytes(), np.random.default_rng(1), 0
    for index in range(60):
        path.write_bytes(whole)
        cut(path, rng.random()) if index % 2 else flip(path, int(rng.integers(len(whole))))
        try:
            _stored_records(path)
        except DatasetError:
            num_refused += 1
    assert num_refused > 40


def test_a_pickle_is_never_loaded(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, frames=np.array([print]), masks=np.zeros((1, 1, 1, 1), np.uint8))
    with pytest.raises(DatasetError, match="pickled objects may run code"):
        _stored_records(path)


def test_a_broken_array_of_a_cache_is_refused(tmp_path):
    from dataset_makers import make_camus
    from echoseg.data.cache import prepare

    prepare(load_dataset(make_camus(tmp_path / "camus").root), tmp_path / "cache", 32)
    clips = CachedClips(tmp_path / "cache")
    path = tmp_path / "cache" / clips.entries[0].file
    whole = path.read_bytes()
    for content in (
        b"",
        whole[:50],
        whole[:200],
        whole[:-5],
        b"x" + whole[1:],
        whole[:60] + DEEP.encode(),
    ):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match="data prepare"):
            clips[0]
    path.unlink()
    with pytest.raises(DatasetError, match="No such file"):
        clips[0]


def test_no_path_leads_out_of_its_folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret").write_text("x")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "loop").symlink_to("loop")
    (folder / "dir").mkdir()
    for name in ("../secret", "/etc/passwd", "link", str(tmp_path / "secret"), "dir/../../secret"):
        with pytest.raises(Unfit, match=r"outside of its folder.*--allow-outside"):
            inside(folder, name)
        assert inside(folder, name, allow_outside=True).exists()
    for name in ("a\0b", "x" * 5000, "x" * 300, "loop/a"):
        with pytest.raises(Unfit):
            inside(folder, name)
    for name in ("a", "dir/../a", "dir/b", str(folder / "c")):
        assert inside(folder, name).parent.is_relative_to(folder)


def test_a_link_to_the_folder_itself_is_no_way_out(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "alias").symlink_to("real")
    assert inside(tmp_path / "alias", "a") == tmp_path / "alias" / "a"


def test_a_pipe_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unfit, match="not a regular file"):
        read_json(tmp_path / "pipe")
    with pytest.raises(Unfit, match="not a regular file"):
        read_bytes(type(tmp_path)("/dev/zero"))


def test_a_document_has_a_largest_size(tmp_path):
    (tmp_path / "a").write_bytes(bytes(11))
    assert read_bytes(tmp_path / "a", 11) == bytes(11)
    with pytest.raises(Unfit, match="larger"):
        read_bytes(tmp_path / "a", 10)


def test_errors_of_any_library_become_the_one_that_is_asked_for(tmp_path):
    for error in (KeyError("ZZNAME"), RecursionError(), RuntimeError("ZZNAME"), EOFError()):
        with pytest.raises(DatasetError, match=r"a is broken \(.*\); go") as caught:
            with reading(tmp_path / "a", DatasetError, "is broken", "go"):
                raise error
        assert "ZZNAME" not in str(caught.value)
    with pytest.raises(KeyboardInterrupt), reading(tmp_path, EchosegError, "", ""):
        raise KeyboardInterrupt


def test_a_table_names_no_file_outside(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "a.avi").write_bytes(b"RIFF")
    (folder / "clips.csv").write_text(f"clip\n../a.avi\n{tmp_path / 'a.avi'}\n{'x' * 5000}\n")
    with pytest.raises(DatasetError):
        load_dataset(folder)


def test_a_line_is_text_without_control_characters():
    from pydantic import TypeAdapter, ValidationError

    lines = TypeAdapter(Line)
    assert lines.validate_python("CAMUS (Leclerc), é, μ") == "CAMUS (Leclerc), é, μ"
    for text in ("a\nb", "a\x1b[0m", "\x9b2J", "a\n"):
        with pytest.raises(ValidationError):
            lines.validate_python(text)
    assert ModelCard(architecture="unet", image_size=64, licence="x").views == (View.A4C,)


def test_a_message_does_not_repeat_a_long_name(tmp_path):  # found by fuzzing
    (tmp_path / "run.json").write_text(json.dumps({"x" * 5000: 1}))
    with pytest.raises(ConfigError) as caught:
        RunFolder(tmp_path).config()
    assert len(str(caught.value)) < 1510


def test_a_clip_of_a_phantom_folder_with_too_long_a_name_is_an_issue(tmp_path):  # found by fuzzing
    clips = {"x" * 400: {}, "../a": {}}
    (tmp_path / "phantom.json").write_text(json.dumps({"layout": "avi", "clips": clips}))
    with pytest.raises(DatasetError):
        load_dataset(tmp_path)
