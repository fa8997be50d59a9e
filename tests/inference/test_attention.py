"""Attention maps: weights that sum to 1, the first frame alone, a darkened frame, refusals."""

import sys

import numpy as np
import pytest
import torch

from clip_makers import moving_frames, write_video
from echoseg.cli import app
from echoseg.cli.console import run_app
from echoseg.errors import MeasurementError, ModelError
from echoseg.inference.analyzer import Analyzer
from echoseg.inference.attention import watch_attention
from echoseg.io import load_clip
from echoseg.models.build import architecture_of
from echoseg.models.checkpoint import save_checkpoint
from echoseg.models.mssnet import MSSNet
from echoseg.report.figures.attention import attention_sheet
from echoseg.weights.card import ModelCard


@pytest.fixture
def clip(tmp_path):
    write_video(tmp_path / "clip.avi", moving_frames(8))
    return load_clip(tmp_path / "clip.avi")


@pytest.fixture
def checkpoint(tmp_path):
    """A network that calls everything ventricle."""
    return saved(tmp_path / "net.safetensors", label=1)


def saved(path, label, **config):
    torch.manual_seed(0)
    model = MSSNet(size="tiny", **{"memory": "guidance"} | config).eval()
    torch.nn.init.zeros_(model.head.weight)
    model.head.bias.data = torch.eye(4)[label]
    facts = {"architecture": architecture_of(model), "image_size": 64, "licence": "x"}
    save_checkpoint(path, model, ModelCard(**facts))
    return path


def test_weights_are_weights_and_the_first_frame_has_no_past(clip, checkpoint):
    maps = watch_attention(Analyzer(str(checkpoint)), clip, darken=3)
    assert maps.frames.shape == maps.labels.shape == (8, 64, 64)
    assert maps.alone.shape == maps.guided.shape == (8, 8, 8)
    for weights in (maps.alone, maps.guided):
        assert np.allclose(weights.sum((1, 2)), 1, atol=1e-5)
    assert np.array_equal(maps.alone[0], maps.guided[0])
    assert np.abs(maps.alone[1:] - maps.guided[1:]).max() > 1e-4
    assert maps.query == (28, 28)  # the token with the middle of a picture that is all ventricle
    assert (maps.frames[3] == 0).all()
    assert maps.frames[2].max() > 0


def test_the_sheet_has_a_column_a_frame_and_the_darkened_one(clip, checkpoint):
    maps = watch_attention(Analyzer(str(checkpoint)), clip, darken=6)
    assert attention_sheet(maps, 5).width - attention_sheet(maps, 3).width == 2 * 224


def test_networks_without_guidance_and_pictures_without_ventricle_are_refused(clip, tmp_path):
    with pytest.raises(ModelError, match="has no attention"):
        watch_attention(Analyzer("phantom"), clip)
    none = saved(tmp_path / "alone.safetensors", 1, memory="none")
    with pytest.raises(ModelError, match="another memory than none"):
        watch_attention(Analyzer(str(none)), clip)
    background = saved(tmp_path / "none.safetensors", label=0)
    with pytest.raises(MeasurementError, match="no left ventricle found"):
        watch_attention(Analyzer(str(background)), clip)


def test_a_network_without_carried_weights_shows_its_own_and_says_so(clip, tmp_path, capsys):
    model = saved(tmp_path / "net.safetensors", 1, memory="features")
    maps = watch_attention(Analyzer(str(model)), clip)
    assert maps.guided is None
    assert np.allclose(maps.alone.sum((1, 2)), 1, atol=1e-5)
    guiding = saved(tmp_path / "guiding.safetensors", 1)
    guided = watch_attention(Analyzer(str(guiding)), clip)
    assert np.allclose(guided.alone, maps.alone, atol=1e-5)  # the same parameters
    sheet = attention_sheet(guided)
    assert sheet.height - attention_sheet(maps).height == 224
    words = ["attention", clip.source, "-o", str(tmp_path / "a.png"), "--model", str(model)]
    sys.argv = ["echoseg", *words]
    assert run_app(app) == 0
    assert "carries no attention weights from frame" in capsys.readouterr().out


def test_the_command_writes_one_picture_and_keeps_what_is_there(tmp_path, clip, checkpoint, capsys):
    out = tmp_path / "a.png"
    args = ["attention", clip.source, "-o", str(out), "--model", str(checkpoint)]

    def run(*more):
        sys.argv = ["echoseg", *args, *more]
        return run_app(app)

    assert run() == 0
    first = out.read_bytes()
    assert first.startswith(b"\x89PNG")
    assert run() == 2
    assert "pass --force (force)" in capsys.readouterr().err
    assert run("--force", "--darken", "8") == 2
    assert "1 to 7, got 8" in capsys.readouterr().err
    assert run("-o", str(tmp_path), "--force") == 2
    assert "must end in .png" in capsys.readouterr().err
    assert out.read_bytes() == first
