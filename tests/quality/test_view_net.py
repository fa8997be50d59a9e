"""The view network: what its input keeps, its file, and what the shipped ones say."""

import numpy as np
import pytest
import torch

from echoseg.clip import View
from echoseg.errors import ModelError
from echoseg.phantom import Phantom, PhantomConfig
from echoseg.preprocess.sector import Sector
from echoseg.quality.view import VIEW_CLASSES
from echoseg.quality.view_net import (
    ViewNet,
    load_view_net,
    normalize,
    save_view_net,
    score_frames,
    view_weights,
)
from echoseg.weights.card import SHIPPED, find_checkpoint


@pytest.fixture(scope="module", params=SHIPPED)
def check(request):
    path = view_weights(find_checkpoint(request.param))
    assert path.name == f"{request.param}.view.safetensors"
    return load_view_net(path)


def whole(frames):
    return Sector(mask=np.ones(frames.shape[1:], bool), box=(0, 0, *frames.shape[1:]))


def filmed(view, seed=1_400_000_003):
    config = PhantomConfig(seed=seed, view=view, size_px=112, num_frames=5)
    return Phantom(config).frames()


def test_a_four_chamber_view_is_seen_and_its_mirror_too(check):
    frames = filmed(View.A4C)
    scores, mirrored = score_frames(frames, whole(frames), check[0])
    assert VIEW_CLASSES[int(scores.argmax())] == "A4C"
    again, other = score_frames(frames[:, :, ::-1].copy(), whole(frames), check[0])
    assert again == pytest.approx(scores, abs=1e-4)
    assert other == pytest.approx(1 - mirrored, abs=1e-4)


@pytest.mark.parametrize("kind", ["noise", "upside down", "on its side"])
def test_what_is_no_apical_view_is_not_taken_for_one(check, kind):
    frames = filmed(View.A4C)
    frames = {
        "noise": np.random.default_rng(0).integers(0, 255, frames.shape, np.uint8),
        "upside down": frames[:, ::-1],
        "on its side": np.rot90(frames, 1, (1, 2)),
    }[kind].copy()
    scores, _ = score_frames(frames, whole(frames), check[0])
    assert VIEW_CLASSES[int(scores.argmax())] == "not apical"


def test_gain_leaves_both_inputs_and_any_grey_map_leaves_the_ranks():
    picture = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.7 + 0.1
    picture[:, :, :, :5] = 0
    plain = normalize(picture)
    assert normalize(picture * 0.6) == pytest.approx(plain, abs=0.06)
    assert normalize(picture**0.5)[:, 1] == pytest.approx(plain[:, 1], abs=0.06)
    lit = plain[:, :, :, 5:]
    assert lit.mean((2, 3)) == pytest.approx(torch.zeros(2, 2), abs=0.01)
    assert lit[:, 0].std((1, 2)) == pytest.approx(torch.ones(2), abs=0.01)
    assert (plain[:, 1, :, :5] == -1).all()
    assert normalize(torch.zeros(1, 1, 8, 8)).isfinite().all()


def test_weights_come_back_and_a_damaged_file_is_refused(tmp_path, check):
    network, card = check
    path = tmp_path / "x.view.safetensors"
    save_view_net(path, network, card)
    again, read = load_view_net(path)
    assert read == card
    x = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(network(x), again(x))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="missing or damaged"):
        load_view_net(path)
    with pytest.raises(ModelError, match="missing or damaged"):
        load_view_net(tmp_path / "none")


def test_a_checkpoint_without_its_own_gets_the_free_one(tmp_path):
    assert view_weights(tmp_path / "own.safetensors").name == "phantom.view.safetensors"
    beside = tmp_path / "own.view.safetensors"
    save_view_net(beside, ViewNet(), load_view_net(view_weights(find_checkpoint("camus")))[1])
    assert view_weights(tmp_path / "own.safetensors") == beside


def test_shipped_checks_are_small_and_of_their_networks_licence():
    for name, licence in (("camus", "CC-BY-NC-SA-4.0"), ("phantom", "Apache-2.0")):
        path = view_weights(find_checkpoint(name))
        assert path.stat().st_size < 400_000
        assert load_view_net(path)[1].licence == licence
