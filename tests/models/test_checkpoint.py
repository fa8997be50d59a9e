import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from echoseg.errors import ConfigError, ModelError
from echoseg.inference.analyzer import Analyzer
from echoseg.models import MODELS, MemoryUNet, build_model
from echoseg.models.checkpoint import load_encoder, load_model, save_checkpoint
from echoseg.weights.card import SHIPPED, ModelCard, find_checkpoint, read_card
from experiments.networks import NAMES


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_checkpoint_loads_is_small_and_says_its_licence(name):
    model, card = load_model(name)
    assert find_checkpoint(name).stat().st_size < 10e6
    assert not model.training
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert card.licence == ("Apache-2.0" if name == "phantom" else "CC-BY-NC-SA-4.0")
    assert bool(card.notice) == (name != "phantom")
    assert {"lv_endo", "lv_epi", "la"} <= set(card.camus_validation)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ModelError, match=r"one of camus, camus-nano, phantom.*'nonsense'"):
        find_checkpoint("nonsense")
    with pytest.raises(ModelError, match=r"'run/best.safetensors', which is not there$"):
        find_checkpoint("run/best.safetensors")


@pytest.mark.parametrize("content", [b"", b"hello", bytes(200), b"\x10" + bytes(7) + b"{not json"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not a checkpoint of echoseg"):
        read_card(path)


def test_a_cut_checkpoint_is_refused(tmp_path):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(find_checkpoint("phantom").read_bytes()[:-1000])
    with pytest.raises(ModelError, match="damaged"):
        load_model(str(path))


def test_weights_that_do_not_fit_are_refused(tmp_path):
    from echoseg.weights.card import ModelCard

    model = MemoryUNet()
    model.extra = torch.nn.Linear(2, 2)
    card = ModelCard(architecture="memory_unet", image_size=64, licence="x")
    save_checkpoint(tmp_path / "odd.safetensors", model, card)
    with pytest.raises(ModelError, match="do not fit"):
        load_model(str(tmp_path / "odd.safetensors"))


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    from echoseg.weights.card import ModelCard

    model = MemoryUNet()
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] = float("nan")
    card = ModelCard(architecture="memory_unet", image_size=64, licence="x")
    save_checkpoint(tmp_path / "nan.safetensors", model, card)
    with pytest.raises(ModelError, match="must have finite weights"):
        load_model(str(tmp_path / "nan.safetensors"))


def test_another_network_takes_the_encoder_and_nothing_else():
    torch.manual_seed(0)
    model, (giver, _) = build_model(NAMES["gdkvm"], {}), load_model("phantom")
    before = {name: x.clone() for name, x in model.state_dict().items()}
    load_encoder(model, "phantom")
    frames = torch.rand(1, 1, 64, 64)
    model.eval()
    with torch.inference_mode():
        pairs = zip(model.encode(frames), giver.encode(frames), strict=True)
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in pairs)
    kept = [n for n, x in model.state_dict().items() if torch.equal(x, before[n])]
    assert "head.weight" in kept and "memory.key.0.weight" in kept and "stem.0.weight" not in kept


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (NAMES["conv_gru_unet"], r"encoder1.0.*is \(40, 24, 3, 3\)"),
        (NAMES["deeplab_v3"], "has another"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(name, told):
    with pytest.raises(ModelError, match=told):
        load_encoder(build_model(name, {}), "phantom")


def test_an_encoder_that_is_not_there_is_not_blamed_on_the_model():
    with pytest.raises(ModelError, match=r"pretrained_encoder must .* got 'nowhere.safetensors'"):
        load_encoder(build_model(NAMES["gdkvm"], {}), "nowhere.safetensors")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda x: x.fill_(torch.nan), "must have finite weights, stem.0.weight"),
        (lambda x: x.long(), "must have torch.float32 .* has torch.int64"),
    ],
)
def test_an_encoder_of_no_numbers_is_refused(spoil, told, tmp_path):
    model = MODELS["memory_unet"]()
    weights = model.state_dict()
    weights["stem.0.weight"] = spoil(weights["stem.0.weight"].clone())
    save_file(weights, tmp_path / "bad.safetensors")
    with pytest.raises(ModelError, match=told):
        load_encoder(model, str(tmp_path / "bad.safetensors"))


def test_a_file_of_the_previous_format_is_read(tmp_path):
    path = tmp_path / "old.safetensors"
    model = MemoryUNet()
    fields = {
        "architecture": "memory_unet",
        "image_size": 64,
        "licence": "Apache-2.0",
        "notice": "",
        "trained_on": "phantom clips",
        "recipe": "seed 0",
        "camus_validation": {},
    }
    metadata = {
        "echoseg_format": "1",
        "card": json.dumps(fields),
        "config": model.config.model_dump_json(),
    }
    save_file(model.state_dict(), path, metadata=metadata)
    loaded, card = load_model(str(path))
    assert (card.provenance, card.name, card.path) == ("seed 0", "old", path)
    assert loaded.config == model.config


def test_a_newer_format_asks_for_an_update(tmp_path):
    path = tmp_path / "new.safetensors"
    save_file({"x": torch.zeros(1)}, path, metadata={"echoseg_format": "3"})
    with pytest.raises(ModelError, match=r"has format 3.*update echoseg"):
        read_card(path)


def test_a_class_loads_its_own_checkpoints_and_no_others():
    import echoseg

    model = echoseg.models.MSSNet.from_pretrained("camus")
    same, card = echoseg.load_model("camus")
    assert isinstance(model, torch.nn.Module) and not model.training
    assert card.architecture == "mssnet" and card.name == "camus"
    assert all(a.equal(b) for a, b in zip(model.parameters(), same.parameters(), strict=True))
    with pytest.raises(ModelError, match=r"phantom is a MemoryUNet, not a MSSNet; use echoseg\."):
        echoseg.models.MSSNet.from_pretrained("phantom")


def test_a_checkpoint_of_the_first_mssnet_is_refused_with_the_way_out(tmp_path):
    card = ModelCard(architecture="mssnet", image_size=64, licence="x")
    tensors = {"guidance.local.weight": torch.zeros(1)}
    save_file(tensors, tmp_path / "old.safetensors", metadata=card.header())
    with pytest.raises(ModelError, match=r"up to version 0\.2; train it anew, or use that version"):
        load_model(str(tmp_path / "old.safetensors"))


def test_what_is_no_checkpoint_or_device_is_refused_with_the_way_out():
    with pytest.raises(TypeError, match="model must be a name or the path"):
        load_model(None)
    with pytest.raises(TypeError, match="give the checkpoint's path"):
        Analyzer(model=MemoryUNet())
    with pytest.raises(ModelError, match=r"a class, which has no trained weights; give a \.safe"):
        load_model("my_package.nets:SmallNet")
    with pytest.raises(ConfigError, match="device must be one that torch has here"):
        load_model("phantom", device="foo")


@pytest.mark.parametrize("frames", [None, [1]])
def test_a_network_takes_tensors_only(frames):
    with pytest.raises(TypeError, match=r"frames must be a torch\.Tensor B T 1 H W"):
        MemoryUNet()(frames)


def test_loading_imports_nothing_of_the_compiler():
    """It takes a second and more of every start; arithmetic on the device `meta` imports it."""
    code = (
        "import sys; from echoseg.models.checkpoint import load_model; load_model('camus'); "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
