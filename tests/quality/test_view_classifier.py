"""The view check: what pictures show, against what is said of them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from echoseg.clip import View
from echoseg.errors import ModelError
from echoseg.io import load_clip
from echoseg.phantom import Phantom, PhantomConfig
from echoseg.preprocess.sector import Sector, find_sector
from echoseg.quality.reliability import VIEW_CLASSES, ViewPrediction
from echoseg.quality.view_net import (
    ViewNet,
    load_view_net,
    predict_view,
    save_view_net,
    view_weights,
)
from echoseg.weights.card import SHIPPED, find_checkpoint

CLIPS = Path(__file__).parents[2] / ".." / "shared" / "clips"
LEARNT = (View.A4C,)


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


def codes(seen, said):
    return [warning.code for warning in seen.warnings(said, LEARNT)]


def test_a_four_chamber_view_passes_and_its_mirror_is_told(check):
    frames = filmed(View.A4C)
    seen = predict_view(frames, whole(frames), *check)
    assert seen.view == "A4C"
    assert codes(seen, View.A4C) == codes(seen, View.UNKNOWN) == []
    mirrored = frames[:, :, ::-1].copy()
    assert codes(predict_view(mirrored, whole(frames), *check), View.A4C) == ["left_right_flipped"]


def test_another_view_is_doubted_unless_it_is_the_one_said(check):
    frames = filmed(View.ALAX)
    seen = predict_view(frames, whole(frames), *check)
    assert codes(seen, View.A4C) == codes(seen, View.UNKNOWN) == ["view_doubtful"]
    assert codes(seen, View.ALAX) == []
    (told,) = seen.warnings(View.A4C, LEARNT)
    assert "should show an apical four-chamber view but looks like" in told.message


@pytest.mark.parametrize("kind", ["noise", "upside down", "on its side"])
def test_what_is_no_apical_view_is_doubted(check, kind):
    frames = filmed(View.A4C)
    frames = {
        "noise": np.random.default_rng(0).integers(0, 255, frames.shape, np.uint8),
        "upside down": frames[:, ::-1],
        "on its side": np.rot90(frames, 1, (1, 2)),
    }[kind].copy()
    assert "view_doubtful" in codes(predict_view(frames, whole(frames), *check), View.A4C)


def test_the_real_clip_of_the_demo_is_a_four_chamber_view():
    from pydicom import examples

    clip = load_clip(Path(str(examples.get_path("ybr_color"))))
    sector = find_sector(clip)
    assert sector is not None
    check = load_view_net(view_weights(find_checkpoint("camus")))
    assert codes(predict_view(clip.frames, sector, *check), View.A4C) == []


def test_shares_are_of_one_clip_and_gain_does_not_matter(check):
    frames = filmed(View.A4C) // 2
    seen = predict_view(frames, whole(frames), *check)
    brighter = predict_view(frames * 2, whole(frames), *check)
    assert sum(seen.probability_percent.values()) == pytest.approx(100, abs=1e-3)
    assert list(seen.probability_percent) == list(VIEW_CLASSES)
    assert brighter.probability_percent == pytest.approx(seen.probability_percent, abs=0.1)


def test_the_mirror_is_not_told_of_a_view_that_is_doubted():
    """One thing at a time: left and right of another view are not what was learnt."""
    percent = {"A4C": 0.0, "A2C": 0.0, "ALAX": 100.0, "other": 0.0}
    seen = ViewPrediction(
        view="ALAX",
        probability_percent=percent,
        mirrored_percent=100.0,
        is_mirrored=True,
        min_percent=30.0,
    )
    assert codes(seen, View.A4C) == ["view_doubtful"]
    passes = seen.model_copy(update={"probability_percent": {**percent, "A4C": 40.0}})
    assert codes(passes, View.A4C) == ["left_right_flipped"]


def test_an_unsure_check_does_not_say_that_a_view_looks_like_itself():
    percent = {"A4C": 25.0, "A2C": 25.0, "ALAX": 25.0, "other": 25.0}
    unsure = ViewPrediction(
        view="A4C",
        probability_percent=percent,
        mirrored_percent=0.0,
        is_mirrored=False,
        min_percent=30.0,
    )
    (warning,) = unsure.warnings(View.A4C, LEARNT)
    assert "only 25 % sure that the clip shows an apical four-chamber view" in warning.message


def test_weights_come_back_and_a_damaged_file_is_refused(tmp_path, check):
    network, card = check
    path = tmp_path / "x.view.safetensors"
    save_view_net(path, network, card)
    again, told = load_view_net(path)
    assert told == card
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
        assert path.stat().st_size < 300_000
        assert load_view_net(path)[1].licence == licence


@pytest.mark.skipif(not CLIPS.is_dir(), reason="the real clips are not beside the project")
@pytest.mark.parametrize(
    ("name", "doubted"),
    [("a4c_1024x768.mp4", False), ("apical_long_axis_630x584.mp4", True)],
)
def test_real_clips_are_told_apart(name, doubted):
    clip = load_clip(CLIPS / name)
    sector = find_sector(clip)
    assert sector is not None
    check = load_view_net(view_weights(find_checkpoint("camus")))
    found = codes(predict_view(clip.frames, sector, *check), View.A4C)
    assert ("view_doubtful" in found) == doubted
