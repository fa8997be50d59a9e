"""What every streaming network must keep; the others: test_whole_clip_models_contract."""

import pytest
import torch
from pydantic import ValidationError

from echoseg import models
from echoseg.errors import ConfigError, ModelError
from echoseg.models.checkpoint import load_model, save_checkpoint
from echoseg.weights.card import ModelCard
from experiments.networks import NAMES, NETWORKS

MODELS = models.MODELS | NETWORKS

STREAMING_TOLERANCE = 1e-4  # fp32 convolutions over one frame and over many round differently
USED = 1e-5  # what another past must change, untrained; the same shapes round the same
STREAMING = sorted(name for name, kind in MODELS.items() if kind.streams)
SMALLER = {NAMES["deeplab_v3"]: {"width": 8}}  # its 40 million parameters take minutes


@pytest.fixture(params=STREAMING)
def model(request):
    torch.manual_seed(0)
    kind = MODELS[request.param]
    model = kind(kind.config_class(**SMALLER.get(request.param, {})))
    for module in model.modules():  # an untrained norm is the identity: give it something to do
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def test_our_models_stream_and_only_baselines_do_not():
    assert set(MODELS) - set(STREAMING) == {
        NAMES["mssnet_released"],
        NAMES["unet_3d"],
    }


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("number", [0, -1])
def test_widths_and_windows_of_nothing_are_refused_by_the_config(name, number):
    config_class = MODELS[name].config_class
    for field, told in config_class.model_fields.items():
        if isinstance(told.default, tuple):
            with pytest.raises(ValidationError, match=rf"{field}\.0"):
                config_class(**{field: (number, *told.default[1:])})


def stream(model, frames):
    state, outputs = model.init_state(frames.shape[0]), []
    for frame in frames.unbind(1):
        logits, state = model.step(frame, state)
        outputs.append(logits)
    return torch.stack(outputs, 1)


@pytest.mark.parametrize(
    ("num_frames", "rows", "columns"),
    [(1, 64, 64), (2, 32, 80), (7, 112, 96), (3, 33, 47), (2, 100, 65), (2, 1, 7)],
)
def test_streaming_gives_what_the_whole_clip_gives(model, num_frames, rows, columns):
    frames = torch.rand(2, num_frames, 1, rows, columns)
    with torch.inference_mode():
        whole = model(frames)
        assert whole.shape == (2, num_frames, model.num_labels, rows, columns)
        assert (stream(model, frames) - whole).abs().max() <= STREAMING_TOLERANCE


def test_the_future_does_not_change_the_past(model):
    frames = torch.rand(1, 5, 1, 64, 64)
    changed = frames.clone()
    changed[:, 3:] = 1
    with torch.inference_mode():
        before, after = model(frames), model(changed)
    assert torch.allclose(before[:, :3], after[:, :3], atol=STREAMING_TOLERANCE)
    assert not torch.allclose(before[:, 3:], after[:, 3:], atol=STREAMING_TOLERANCE)


def test_a_batch_gives_what_its_clips_give_alone(model):
    frames = torch.rand(3, 4, 1, 48, 64)
    with torch.inference_mode():
        alone = torch.cat([model(clip[None]) for clip in frames])
        assert (model(frames) - alone).abs().max() <= STREAMING_TOLERANCE


def test_the_past_is_used_by_those_that_say_so(model):
    frames = torch.rand(1, 2, 1, 64, 64)
    with torch.inference_mode():
        after_light = model(frames.index_fill(1, torch.tensor([0]), 1.0))[:, 1]
        after_dark = model(frames.index_fill(1, torch.tensor([0]), 0.0))[:, 1]
    assert ((after_light - after_dark).abs().max() > USED) == model.remembers


def test_every_parameter_gets_a_finite_gradient(model):
    model.train()
    model(torch.rand(2, 3, 1, 64, 64)).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{name} is not used"
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("frames", "told"),
    [
        (torch.rand(2, 1, 64, 64), r"must be B T 1 H W .*got 2 1 64 64; .*frames\[:, None\]"),
        (torch.rand(1, 2, 3, 64, 64), r"must be B T 1 H W .*got 1 2 3 64 64; .*frames.mean\(-3"),
        (torch.rand(1, 0, 1, 64, 64), "must be B T 1 H W .*, got 1 0 1 64 64"),
        (torch.rand(1, 2, 1, 0, 64), "must be B T 1 H W"),
        (torch.zeros(1, 2, 1, 64, 64, dtype=torch.uint8), "must be torch.float32 .* torch.uint8"),
        (torch.zeros(1, 2, 1, 64, 64).double(), "must be torch.float32 .* got torch.float64"),
    ],
)
def test_frames_that_do_not_fit_are_refused_in_one_sentence(model, frames, told):
    with pytest.raises(ModelError, match=told):
        model(frames)
    if frames.ndim == 5 and frames.shape[1]:
        with pytest.raises(ModelError, match=told.replace("B T", "B").replace("got 1 2", "got 1")):
            model.step(frames[:, 0], model.init_state(1))


def test_a_padded_frame_gives_what_its_padding_by_hand_gives(model):
    frames = torch.rand(1, 2, 1, 50, 61)
    multiple = model.stride
    padded = torch.zeros(1, 2, 1, -(-50 // multiple) * multiple, -(-61 // multiple) * multiple)
    padded[..., :50, :61] = frames
    with torch.inference_mode():
        assert torch.equal(model(frames), model(padded)[..., :50, :61])


def test_a_clip_given_to_step_is_refused_with_the_way_out(model):
    with pytest.raises(ModelError, match=r"must be B 1 H W .*step takes one frame"):
        model.step(torch.rand(1, 2, 1, 64, 64), model.init_state(1))


def test_keywords_build_the_config_and_unknown_ones_name_the_nearest():
    for kind in MODELS.values():
        assert kind.make_config({"num_labels": 2}) == kind.config_class(num_labels=2)
        with pytest.raises(ConfigError, match=r"no field num_label; did you mean num_labels\?"):
            kind(num_label=2)
        with pytest.raises(ConfigError, match=f"{kind.__name__}: num_labels must be"):
            kind(num_labels=-1)
        with pytest.raises(TypeError, match="config must be a"):
            kind({"num_labels": 2})


def test_a_state_of_other_clips_or_another_size_is_refused(model):
    with torch.inference_mode():
        _, small = model.step(torch.rand(1, 1, 16, 16), model.init_state(1))
        _, state = model.step(torch.rand(1, 1, 64, 64), model.init_state(1))
        if any(a.shape != b.shape for a, b in zip(small, state, strict=True)):
            for one, size in ((small, (64, 64)), (state, (16, 16)), (state, (64, 80))):
                with pytest.raises(ModelError, match="frames must keep their size"):
                    model.step(torch.rand(1, 1, *size), one)
        for one in (state, model.init_state(1)) if len(state) else ():
            with pytest.raises(ModelError, match=r"as many clips as the frame, 2, it is of 1"):
                model.step(torch.rand(2, 1, 64, 64), one)


def test_mixed_precision_takes_the_frames_it_mixes(model):
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for dtype in (torch.float32, torch.bfloat16):
            assert model(torch.rand(1, 2, 1, 64, 64, dtype=dtype)).isfinite().all()


def test_the_state_has_constant_size(model):
    state = model.init_state(1)
    sizes = []
    with torch.inference_mode():
        for _ in range(4):
            _, state = model.step(torch.rand(1, 1, 64, 64), state)
            sizes.append(sum(part.numel() for part in state))
    assert len(set(sizes)) == 1


def test_save_and_load_give_the_same_output(model, tmp_path):
    names = {type_: name for name, type_ in MODELS.items()}
    card = ModelCard(
        architecture=names[type(model)],
        image_size=64,
        licence="Apache-2.0",
    )
    save_checkpoint(tmp_path / "m.safetensors", model, card)
    loaded, stored = load_model(str(tmp_path / "m.safetensors"))
    frames = torch.rand(1, 2, 1, 64, 64)
    model.to(memory_format=torch.channels_last)  # as loaded; another layout rounds differently
    with torch.inference_mode():
        assert torch.equal(model(frames), loaded(frames))
    assert (stored.architecture, stored.image_size) == (card.architecture, 64)
    assert model.make_config(stored.config) == model.config
    assert not list(tmp_path.glob("*.partial*"))


def test_bfloat16_is_close(model):
    frames = torch.rand(1, 3, 1, 64, 64)
    with torch.inference_mode():
        full = model(frames)
        half = model.to(torch.bfloat16)(frames.to(torch.bfloat16)).float()
    assert (full - half).abs().max() <= 0.05 * full.abs().max()


def test_it_can_be_exported(model):
    """One step, state and all, as a graph that gives the same numbers."""
    frame = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        _, state = model.step(torch.rand(1, 1, 64, 64), model.init_state(1))
        expected, _ = model.step(frame, state)
    program = torch.export.export(Step(model), (frame, state))
    logits, after = program.module()(frame, state)
    assert (logits - expected).abs().max() <= STREAMING_TOLERANCE
    assert [part.shape for part in after] == [part.shape for part in state]


@pytest.mark.slow
def test_it_can_be_compiled(model):
    """As one graph without a break; to machine code only MemoryUNet, MSSNet takes minutes."""
    torch._dynamo.reset()  # `Segmenter.forward` is compiled once per network, at most 8 times
    frames = torch.rand(1, 2, 1, 64, 64)
    with torch.no_grad():
        backend = "inductor" if isinstance(model, MODELS["memory_unet"]) else "aot_eager"
        compiled = torch.compile(model, fullgraph=True, backend=backend)
        assert (compiled(frames) - model(frames)).abs().max() <= STREAMING_TOLERANCE


@pytest.mark.parametrize("level", [0.0, 1.0, None])
def test_a_bad_frame_does_not_break_the_frames_after_it(model, level):
    """After a frame of black, white or noise, what it left behind fades."""
    still = torch.rand(1, 1, 1, 64, 64).expand(-1, 12, -1, -1, -1)
    broken = still.clone()
    broken[:, 3] = torch.rand(1, 1, 64, 64) if level is None else level
    with torch.inference_mode():
        difference = (model(broken) - model(still)).abs().amax((0, 2, 3, 4))
    assert difference.isfinite().all()
    assert difference[-1] <= 0.05 * difference[3]


class Step(torch.nn.Module):
    """`step` as a forward, which is what export takes."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, frame, state):
        return self.model.step(frame, state)
