"""The fastest backend is measured once a machine, and one that says something else is left out."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from echoseg.clip import Clip
from echoseg.errors import ConfigError, EchosegError, ModelError, OutputError
from echoseg.inference.analyzer import Analyzer
from echoseg.inference.backends import cache, exported
from echoseg.inference.backends import select as choose
from echoseg.inference.backends.select import BACKENDS, open_session
from echoseg.nn import fused
from echoseg.phantom import Phantom, PhantomConfig
from echoseg.weights.card import find_checkpoint, read_card


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """One cache for all: writing a network for other backends takes a while."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(kept, monkeypatch):
    monkeypatch.setenv("ECHOSEG_CACHE_DIR", str(kept))
    return kept


@pytest.fixture(scope="module")
def clip():
    phantom = Phantom(PhantomConfig(seed=1, size_px=96, num_frames=20, frame_rate_hz=25))
    return Clip(frames=phantom.frames(), times_s=np.arange(20) / 25)


def bf16(name: str):
    """The backend of that name, skipped where the processor does not compute in bfloat16."""
    reason = "the processor does not compute in bfloat16"
    return pytest.param(name, marks=pytest.mark.skipif(not choose._has_bf16(name), reason=reason))


@pytest.mark.parametrize("backend", ["onnx", "openvino", bf16("openvino-bf16"), bf16("torch-bf16")])
def test_every_backend_analyses_a_clip_alike_and_says_its_name(clip, backend):
    plain, other = Analyzer("camus", "cpu"), Analyzer("camus", "cpu", backend)
    one, two = plain.analyze(clip), other.analyze(clip)
    assert (one.masks == two.masks).mean() > (0.999 if "bf16" in backend else 0.9999)
    assert not [note for note in one.notes if note.code == "backend"]
    (note,) = [note for note in two.notes if note.code == "backend"]
    assert other.session.name in note.message


def test_the_fastest_is_chosen_remembered_and_not_measured_again(own_cache, monkeypatch):
    rates = {"torch f32": 5.0, "openvino f32": 50.0}
    timed = []

    def rate_hz(session, frames, seconds):
        timed.append(session.name)
        return rates.get(session.name, 1.0)

    monkeypatch.setattr(choose, "rate_hz", rate_hz)
    found = choose.select_backend("camus")
    assert found.backend == "openvino"
    assert set(found.frames_per_s) | set(found.excluded) == {
        name for name, kind in BACKENDS.items() if kind.automatic
    }
    num_timed = len(timed)
    assert choose.select_backend("camus") == found
    assert len(timed) == num_timed
    (saved,) = [one for one in json.loads((own_cache / cache.TIMINGS).read_text()).values()
                if "backend" in one]  # fmt: skip
    assert saved["backend"] == "openvino"


def test_without_a_runtime_torch_is_chosen_at_once_and_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("ECHOSEG_CACHE_DIR", str(tmp_path / "none"))
    monkeypatch.setattr(choose, "find_spec", lambda name: None if name == "onnx" else name)
    found = choose.select_backend("camus", begin=pytest.fail)
    assert (found.backend, found.time_s) == ("torch", 0)
    assert found.describe() == "torch (for others pip install 'echoseg[runtime]')"
    assert not (tmp_path / "none").exists()


def test_where_no_export_can_be_kept_torch_is_chosen_without_measuring(tmp_path, monkeypatch):
    monkeypatch.setenv("ECHOSEG_CACHE_DIR", str(tmp_path / "file" / "below"))
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(choose, "rate_hz", None)
    begun = []
    found = choose.select_backend("camus", begin=lambda: begun.append(1))
    assert begun
    assert (found.backend, found.cacheable) == ("torch", False)
    assert "cannot be written" in found.describe()


def test_no_reduced_precision_is_chosen_automatically():
    assert not [b for b in BACKENDS.values() if b.automatic and b.reduced_precision]


@pytest.fixture
def wrong(monkeypatch):
    """Backends to be added, which then give zeros."""
    names = set()

    class Wrong:
        name, size_px = "wrong f32", 160

        def first_state(self):
            return ()

        def step(self, frame, state):
            return np.zeros((1, 4, 160, 160), np.float32), ()

    plain = choose._open

    def opened(model, card, backend, threads):
        return Wrong() if backend in names else plain(model, card, backend, threads)

    monkeypatch.setattr(choose, "_open", opened)
    return names


def test_a_backend_that_says_something_else_is_excluded_with_the_reason(wrong, monkeypatch):
    wrong.add("onnx")
    monkeypatch.setattr(choose, "TIMING_S", 0.05)
    found = choose._measure("camus", choose.read_card(choose.find_checkpoint("camus")), 1)
    assert "logits must agree" in found.excluded["onnx"]
    assert "onnx" not in found.frames_per_s


@pytest.mark.parametrize("backend", ["openvino", "torch-compile"])
def test_a_backend_chosen_by_name_that_says_something_else_is_refused(
    wrong, tmp_path, monkeypatch, backend
):
    monkeypatch.setenv("ECHOSEG_CACHE_DIR", str(tmp_path))
    wrong.add(backend)
    for _ in range(2):  # and is not remembered as right
        with pytest.raises(ModelError, match="logits must agree"):
            open_session("camus", backend)


def test_a_backend_is_compared_once_and_not_again_when_it_was_just_chosen(
    wrong, tmp_path, monkeypatch
):
    monkeypatch.setenv("ECHOSEG_CACHE_DIR", str(tmp_path))
    wrong.add("openvino")
    compared = []
    monkeypatch.setattr(choose, "compare", lambda *_: compared.append(1))
    monkeypatch.setattr(choose, "check", lambda *_, reduced_precision: None)
    found = choose.Choice(backend="openvino")
    monkeypatch.setattr(choose, "select_backend", lambda *_, num_threads: found)
    assert open_session("camus", "auto").name == "wrong f32"
    assert not compared
    assert {open_session("camus", "openvino").name for _ in range(2)} == {"wrong f32"}
    assert len(compared) == 1


def test_openvino_alone_runs_no_file_since_onnx_runtime_checks_it(monkeypatch):
    installed = {"onnx", "onnxscript", "openvino"}
    monkeypatch.setattr(choose, "find_spec", lambda name: name if name in installed else None)
    assert choose.select_backend("camus", begin=pytest.fail).backend == "torch"


@pytest.mark.parametrize("backend", [bf16("openvino-bf16"), bf16("torch-bf16")])
def test_reduced_precision_that_changes_the_ef_is_refused(monkeypatch, backend):
    def differs(found, *, reduced_precision):
        raise ModelError("EF must agree")

    monkeypatch.setattr(choose, "check", differs)
    with pytest.raises(ModelError, match="EF must agree"):
        open_session("phantom", backend)


@pytest.mark.parametrize("backend", ["torch-bf16", "torch-compile-bf16", "openvino-bf16"])
def test_reduced_precision_is_refused_on_a_processor_without_it(monkeypatch, backend):
    class Core:
        def get_property(self, device, name):
            assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
            return ["FP32", "INT8"]

    monkeypatch.setattr(fused, "has_bf16", lambda: False)
    monkeypatch.setattr(exported, "openvino_core", Core)
    plain = backend.removesuffix("-bf16")
    with pytest.raises(ConfigError, match=rf"bfloat16 \(AVX-512 or AMX\); use --backend {plain}$"):
        open_session("phantom", backend)


def test_a_cache_that_cannot_be_read_or_written_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("ECHOSEG_CACHE_DIR", str(tmp_path / "file" / "below"))
    (tmp_path / "file").write_text("in the way")
    cache.cache_put("key", {"a": 1})
    assert cache.cache_get("key") is None
    monkeypatch.setenv("ECHOSEG_CACHE_DIR", str(tmp_path))
    (tmp_path / cache.TIMINGS).write_text("{broken")
    assert cache.cache_get("key") is None
    cache.cache_put("key", {"a": 1})
    assert cache.cache_get("key") == {"a": 1}


@pytest.mark.parametrize(
    "odd", [3, [], "onnx", {"backend": []}, {"backend": "onnx", "excluded": 1}]
)
def test_what_is_remembered_and_is_nothing_of_ours_is_measured_anew(tmp_path, monkeypatch, odd):
    monkeypatch.setenv("ECHOSEG_CACHE_DIR", str(tmp_path))
    card = choose.read_card(choose.find_checkpoint("camus"))
    key = cache.machine_key(card.sha256, card.image_size, 1)
    cache.cache_put(key, odd)
    found = choose.Choice(backend="torch", frames_per_s={"torch": 1.0})
    monkeypatch.setattr(choose, "_measure", lambda *asked: found)
    assert choose.select_backend("camus") == found
    monkeypatch.setattr(choose, "_measure", None)
    assert choose.select_backend("camus") == found


def test_a_damaged_file_in_the_cache_is_written_anew():
    open_session("camus", "onnx")
    card = read_card(find_checkpoint("camus"))
    path = cache.export_path(card.sha256, card.image_size)
    whole = path.read_bytes()
    for damaged in (
        b"",
        whole[:-1],
        whole[:-2000] + bytes([whole[-2000] ^ 64]) + whole[-1999:],  # a weight: it still loads
    ):
        path.write_bytes(damaged)
        assert not cache.has_valid_checksum(path)
    open_session("camus", "openvino")
    assert cache.has_valid_checksum(path)


def test_a_cache_that_is_no_folder_names_the_way_out(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ECHOSEG_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(OutputError, match=r"file cannot be written .* set ECHOSEG_CACHE_DIR"):
        open_session("phantom", "onnx")


def test_what_the_disk_kept_from_being_tried_is_not_excluded_for_good(tmp_path, monkeypatch):
    monkeypatch.setenv("ECHOSEG_CACHE_DIR", str(tmp_path))
    plain = choose._open

    def opened(model, card, backend, threads):
        if backend != "torch":
            raise OutputError("no room")
        return plain(model, card, backend, threads)

    monkeypatch.setattr(choose, "_open", opened)
    monkeypatch.setattr(choose, "TIMING_S", 0.05)
    assert choose.select_backend("camus").backend == "torch"
    assert not (tmp_path / cache.TIMINGS).exists()


def test_other_threads_or_weights_are_measured_apart():
    keys = {cache.machine_key(sha, 160, threads) for sha in "ab" for threads in (1, 2)}
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"backend": "tensorrt"}, "backend must be auto or one of torch"),
        ({"backend": "onnx", "device": "cuda"}, "runs on the CPU"),
    ],
)
def test_what_is_no_backend_here_is_refused(known, message):
    with pytest.raises(EchosegError, match=message):
        Analyzer("camus", **known)


def test_a_missing_package_is_named(monkeypatch):
    open_session("camus", "onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"pip install 'echoseg\[runtime\]'"):
        open_session("camus", "onnx")


def test_a_session_on_another_backend_loads_no_torch(own_cache):
    open_session("camus", "openvino")
    code = """
import sys
import numpy as np
from echoseg.inference.backends.select import open_session
from echoseg.inference.live.session import Session
session = Session(open_session("camus", "openvino"))
for number in range(3):
    session.push(np.random.default_rng(number).integers(0, 255, (112, 112), dtype=np.uint8))
print("torch" in sys.modules)
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[3] / "src",
    )  # fmt: skip
    assert run.stdout.strip() == "False"
