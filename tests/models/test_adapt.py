"""Networks of other packages: plain modules as Segmenters, and their checkpoints."""

import sys
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from echoseg.errors import ConfigError, ModelError
from echoseg.models import MSSNet, architecture_of, as_segmenter, build_model
from echoseg.models.checkpoint import load_model, save_checkpoint
from echoseg.weights.card import ModelCard

HERE = __name__


class Frames(nn.Module):
    """A network of single frames: `B 1 H W` -> `B K H W`; sides of multiples of 4."""

    stride = 4

    def __init__(self, width=3, num_labels=4):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, width, 4, 4),
            nn.BatchNorm2d(width),
            nn.ConvTranspose2d(width, num_labels, 4, 4),
        )

    def forward(self, frames):
        return self.net(frames)


class ClipFrames(Frames):
    """The same for clips, `B T 1 H W` -> `B T K H W`."""

    def forward(self, frames):
        return self.net(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])


class Joined(nn.Module):
    """A network that looks ahead: a convolution over time."""

    num_frames = 6

    def __init__(self):
        super().__init__()
        self.net = nn.Conv3d(1, 4, 3, padding=1)

    def forward(self, frames):
        return self.net(frames.transpose(1, 2)).transpose(1, 2)


class Hidden(NamedTuple):
    mean: Tensor


class Recurrence(nn.Module):
    """A running mean in front of a convolution; `leak` makes stepping another thing."""

    def __init__(self, leak=0.0):
        super().__init__()
        self.net, self.leak = nn.Conv2d(1, 4, 3, padding=1), leak

    def init_state(self, batch_size):
        return Hidden(torch.zeros(batch_size, 1, 1, 1))

    def step(self, frame, state):
        mean = 0.5 * state.mean + 0.5 * frame
        return self.net(mean) + self.leak, Hidden(mean)

    def forward(self, frames):
        state, outputs = self.init_state(len(frames)), []
        for frame in frames.unbind(1):
            logits, state = self.step(frame, state)
            outputs.append(logits - self.leak)
        return torch.stack(outputs, 1)


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Conv2d(1, 4, 3)  # no padding: other sides

    def forward(self, frames):
        return self.net(frames)


def stream(model, frames):
    state, outputs = model.init_state(len(frames)), []
    for frame in frames.unbind(1):
        logits, state = model.step(frame, state)
        outputs.append(logits)
    return torch.stack(outputs, 1)


@pytest.mark.parametrize("kind", [Frames, ClipFrames, Recurrence])
def test_a_plain_network_streams_at_any_size_and_equals_itself(kind):
    torch.manual_seed(0)
    network = kind().train()
    model = as_segmenter(network)
    assert network.training and model.num_labels == 4
    model.eval()
    frames = torch.rand(2, 3, 1, 37, 50)
    with torch.inference_mode():
        assert (stream(model, frames) - model(frames)).abs().max() <= 1e-5
        whole = torch.rand(2, 3, 1, 64, 32)
        plain = network(whole[:, 1]) if kind is Frames else network(whole)[:, 1]
        assert torch.allclose(model(whole)[:, 1], plain, atol=1e-6)


def test_a_network_that_looks_ahead_takes_clips_of_its_length():
    model = as_segmenter(Joined())
    assert (model.streams, model.num_frames) == (False, 6)
    assert model(torch.rand(1, 6, 1, 40, 40)).shape == (1, 6, 4, 40, 40)
    with pytest.raises(ModelError, match="looks ahead"):
        model.init_state(1)


def test_a_segmenter_is_itself():
    model = MSSNet(size="tiny")
    assert as_segmenter(model) is model
    assert architecture_of(model) == "mssnet"


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (Odd(), r"Odd.forward must give logits B K H W .* 2 1 64 64 gives 2 4 62 62"),
        (Recurrence(leak=1.0), r"Recurrence.step must give what its forward gives"),
        (nn.Identity(), "has no parameters"),
    ],
)
def test_a_network_that_fits_nothing_is_refused(network, told):
    with pytest.raises(ModelError, match=told):
        as_segmenter(network)


def test_joining_frames_without_a_length_is_refused(monkeypatch):
    monkeypatch.delattr(Joined, "num_frames")
    with pytest.raises(ModelError, match="joins the frames of a clip; give it init_state and step"):
        as_segmenter(Joined())


@pytest.mark.parametrize("options", [{}, {"width": 5, "num_labels": 2}])
def test_a_foreign_checkpoint_is_built_again_from_its_class_and_options(tmp_path, options):
    model = build_model(f"{HERE}:Frames", options).eval()
    card = ModelCard(architecture=architecture_of(model), image_size=64, licence="x")
    assert card.architecture == f"{HERE}:Frames"
    save_checkpoint(tmp_path / "own.safetensors", model, card)
    loaded, _ = load_model(str(tmp_path / "own.safetensors"))
    frames = torch.rand(1, 2, 1, 30, 64)
    with torch.inference_mode():
        assert torch.allclose(model(frames), loaded(frames), atol=1e-6)


def test_a_checkpoint_whose_module_is_gone_says_so(tmp_path, monkeypatch):
    model = build_model(f"{HERE}:Frames", {})
    facts = {"image_size": 64, "licence": "x"}
    path = tmp_path / "own.safetensors"
    save_checkpoint(path, model, ModelCard(architecture="nowhere.to_be:Found", **facts))
    with pytest.raises(ModelError, match=r"importing nowhere.to_be failed .*PYTHONPATH"):
        load_model(str(path))
    save_checkpoint(path, model, ModelCard(architecture="subprocess:Popen", **facts))
    with pytest.raises(ModelError, match=r"must be a class derived from torch.nn.Module"):
        load_model(str(path))


def test_a_shipped_name_never_imports_another_package(tmp_path, monkeypatch):
    from echoseg.models import checkpoint

    path = tmp_path / "camus.safetensors"
    card = ModelCard(architecture="planted:Net", image_size=64, licence="x")
    save_checkpoint(path, build_model(f"{HERE}:Frames", {}), card)
    monkeypatch.setattr(checkpoint, "find_checkpoint", lambda name: path)
    (tmp_path / "planted.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match="has architecture 'planted:Net'"):
        load_model("camus")
    assert "planted" not in sys.modules


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("mssnett", {}, r"model must be one of .*package.module:Name"),
        (f"{HERE}:Missing", {}, "has no Missing"),
        (f"{HERE}:stream", {}, "must be a class derived from torch.nn.Module"),
        (f"{HERE}:Frames", {"widht": 3}, r"cannot be built with .*unexpected keyword"),
        ("mssnet", {"sise": "tiny"}, r"MSSNet: there is no field sise; did you mean size\?"),
    ],
)
def test_a_name_or_option_that_is_none_is_refused(name, options, told):
    with pytest.raises(ConfigError, match=told):
        build_model(name, options)


def test_a_class_inside_a_function_cannot_be_named():
    class Inner(Frames):
        pass

    with pytest.raises(ModelError, match="top level of a module"):
        architecture_of(as_segmenter(Inner()))
