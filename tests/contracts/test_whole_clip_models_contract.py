"""What every network must keep that does not stream: whole clips in, honest refusals."""

import pytest
import torch

from echoseg import models
from echoseg.errors import ModelError
from echoseg.models.checkpoint import load_model, save_checkpoint
from echoseg.models.windows import each_frame
from echoseg.weights.card import ModelCard
from experiments.networks import NETWORKS

MODELS = models.MODELS | NETWORKS

TOLERANCE = 1e-4
USED = 1e-5  # what another future must change, untrained; the same shapes round the same
WHOLE_CLIP = sorted(name for name, kind in MODELS.items() if not kind.streams)
SIZE = 32  # the published 10 frames of 256 px take half a minute each


@pytest.fixture(params=WHOLE_CLIP)
def name(request):
    return request.param


@pytest.fixture
def model(name):
    torch.manual_seed(0)
    config_class = MODELS[name].config_class
    small = {"num_frames": 5, "image_size": SIZE}
    model = MODELS[name](
        config_class(**{key: small[key] for key in small.keys() & config_class.model_fields})
    )
    for module in model.modules():  # an untrained norm is the identity: give it something to do
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def clips(model, batch_size=1, num_frames=None):
    return torch.rand(batch_size, num_frames or model.num_frames, 1, SIZE, SIZE)


def test_the_default_says_which_clips_it_takes(name):
    model = MODELS[name]()
    assert model.num_frames == model.config.num_frames
    if model.image_size is not None:  # else any size
        assert model.image_size == model.config.image_size
        assert model.image_size % model.stride == 0


def test_logits_have_the_frames_size(model):
    with torch.inference_mode():
        logits = model(clips(model, 2))
    assert logits.shape == (2, model.num_frames, model.num_labels, *clips(model).shape[-2:])
    assert logits.isfinite().all()


def test_it_does_look_ahead(model):
    """Else it could stream, and should say so."""
    frames = clips(model)
    changed = frames.clone()
    changed[:, -1] = 1
    with torch.inference_mode():
        assert (model(frames) - model(changed))[:, :-1].abs().max() > USED


def test_one_frame_at_a_time_is_refused_with_the_way_out(model):
    for refused in (lambda: model.init_state(1), lambda: model.step(torch.rand(1, 1, 32, 32), ())):
        with pytest.raises(ModelError, match=r"cannot take one frame at a time; .*each_frame"):
            refused()


@pytest.mark.parametrize("shape", [(1, 4, 1, 32, 32), (1, 6, 1, 32, 32), (1, 5, 1, 40, 32)])
def test_other_clips_are_refused(model, shape):
    if model.image_size is None and shape[1] == model.num_frames:
        for size in (shape[-2:], (33, 47)):
            frames = torch.rand(*shape[:3], *size)
            assert model(frames).shape == (*shape[:2], model.num_labels, *size)
        return
    with pytest.raises(ModelError, match=r"must be B 5 1 (32 32|H W) .* got 1 "):
        model(torch.rand(shape))


@pytest.mark.parametrize("shape", [(5, 1, 32, 32), (1, 5, 3, 32, 32)])
def test_clips_without_batch_or_in_colour_are_refused(model, shape):
    with pytest.raises(ModelError, match=r"must be B 5 1 (32 32|H W)"):
        model(torch.rand(shape))


def test_bytes_are_refused(model):
    with pytest.raises(ModelError, match=r"must be torch\.float32 .*got torch\.uint8"):
        model(clips(model).to(torch.uint8))


def test_a_batch_gives_what_its_clips_give_alone(model):
    frames = clips(model, 3)
    with torch.inference_mode():
        alone = torch.cat([model(clip[None]) for clip in frames])
        assert (model(frames) - alone).abs().max() <= TOLERANCE


def test_every_parameter_gets_a_finite_gradient(model):
    model.train()
    model(clips(model, 2)).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{name} is not used"
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_save_and_load_give_the_same_output(name, model, tmp_path):
    card = ModelCard(architecture=name, image_size=32, licence="x")
    save_checkpoint(tmp_path / "m.safetensors", model, card)
    loaded, _ = load_model(str(tmp_path / "m.safetensors"))
    frames = clips(model)
    model.to(memory_format=torch.channels_last)  # as loaded; another layout rounds differently
    with torch.inference_mode():
        assert torch.equal(model(frames), loaded(frames))


def test_bfloat16_is_close(model):
    frames = clips(model)
    with torch.inference_mode():
        full = model(frames)
        half = model.to(torch.bfloat16)(frames.to(torch.bfloat16)).float()
    assert (full - half).abs().max() <= 0.05 * full.abs().max()


@pytest.mark.parametrize("num_frames", [5, 6, 9, 10, 13])
def test_a_longer_clip_is_covered_by_windows(model, num_frames):
    frames = clips(model, 1, num_frames)
    with torch.inference_mode():
        found = torch.cat(list(each_frame(model, frames.unbind(1))))
        starts = [min(start, num_frames - 5) for start in range(0, num_frames, 5)]
        expected = torch.zeros_like(found)
        for start in reversed(starts):  # the first window that holds a frame has the last word
            expected[start : start + 5] = model(frames[:, start : start + 5])[0]
    assert torch.equal(found, expected)
