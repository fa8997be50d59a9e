"""Equality with the published code, from numbers it gave, and what the release does to clips."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from echoseg.errors import ModelError
from experiments.networks.mssnet_released import (
    PUBLISHED_UNUSED,
    MSSNetReleased,
    MSSNetReleasedConfig,
    from_published,
    published_name,
)

HERE = Path(__file__).parent
ONE_LABEL = MSSNetReleasedConfig(num_labels=1)


@pytest.fixture(scope="module")
def reference():
    """The script that wrote the numbers; it knows the rules of the weights and of the clip."""
    path = HERE.parents[2] / "benchmarks" / "released_reference.py"
    spec = importlib.util.spec_from_file_location("released_reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def published(reference):
    """What the published network's `state_dict()` is with the drawn weights."""
    shapes = {
        published_name(name): tuple(tensor.shape)
        for name, tensor in MSSNetReleased(ONE_LABEL).state_dict().items()
    }
    for layer in PUBLISHED_UNUSED:
        is_norm = layer.endswith(("norm1", "norm_t"))
        shapes |= {f"{layer}.weight": (32,) if is_norm else (32, 32), f"{layer}.bias": (32,)}
    return {name: reference.drawn(name, shape) for name, shape in shapes.items()}


def test_its_parameters_are_the_published_ones_but_for_those_never_used(published):
    assert len(published) == 93
    learnt = {n: w for n, w in published.items() if "running" not in n and w.ndim}
    unused = sum(w.numel() for n, w in learnt.items() if n.startswith(PUBLISHED_UNUSED))
    assert sum(weight.numel() for weight in learnt.values()) == 1_899_665
    ours = sum(parameter.numel() for parameter in MSSNetReleased(ONE_LABEL).parameters())
    assert ours == 1_899_665 - unused


@pytest.mark.slow
def test_it_gives_the_published_codes_outputs(reference, published):
    """In float64, fused: written out, 10 frames of 256 px take 9 GB; the next test has both."""
    expected = json.loads((HERE / "mssnet_released_reference.json").read_text())
    assert [tuple(place) for place in expected["places"]] == reference.PLACES
    model = MSSNetReleased(MSSNetReleasedConfig(num_labels=1, attention="fused"))
    model.double().load_state_dict(from_published(published).state_dict())
    with torch.inference_mode():
        logits = model.eval()(reference.drawn_frames()[None])[0]
    found = torch.tensor(reference.at_places(logits), dtype=torch.float64)
    wanted = torch.tensor(expected["logits"], dtype=torch.float64)
    assert (found - wanted).abs().max() <= 1e-10


def small(**changes):
    config = MSSNetReleasedConfig(num_frames=9, image_size=32, num_labels=2)
    torch.manual_seed(0)
    return MSSNetReleased(config.model_copy(update=changes)).eval()


def test_both_forms_of_attention_give_the_same():
    frames = torch.rand(2, 9, 1, 32, 32)
    found = []
    for attention in ("released", "fused"):
        model = small(attention=attention).train()
        logits = model(frames)
        (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits)).mean().backward()
        found.append([logits, *(parameter.grad for parameter in model.parameters())])
    for one, other in zip(*found, strict=True):
        assert (one - other).abs().max() <= 1e-5 * max(1, one.abs().max())


def test_a_frame_sees_three_frames_to_either_side_and_the_ends_see_four():
    model = small()
    frames = torch.rand(1, 9, 1, 32, 32)
    seen_by = []
    with torch.inference_mode():
        before = model(frames)
        for changed in range(9):
            other = frames.clone()
            other[:, changed] = 1 - other[:, changed]
            difference = (model(other) - before).abs().amax((0, 2, 3, 4))
            seen_by.append((difference > 0).nonzero().flatten().tolist())
    assert seen_by[4] == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert seen_by[0] == [0, 1, 2, 3]
    assert seen_by[5] == [2, 3, 4, 5, 6, 7, 8]


def test_in_training_a_clip_is_normalised_by_its_own_frames():
    model, frames = small().train(), torch.rand(2, 9, 1, 32, 32)
    assert torch.allclose(model(frames)[1], model(frames[1:])[0], atol=1e-6)


def test_weights_of_another_network_are_refused_by_name(published):
    with pytest.raises(ModelError, match=r"'enc\.TAP\.q\.bias' is missing; give the state_dict"):
        from_published({n: w for n, w in published.items() if n != "enc.TAP.q.bias"})
    with pytest.raises(ModelError, match=r"'extra\.weight' is unknown"):
        from_published({**published, "extra.weight": torch.zeros(1)})
    with pytest.raises(ModelError, match="must have the shapes of the published MSSNet"):
        from_published({**published, "enc.spatial_pos_embed": torch.zeros(1, 784, 32)})


def test_a_published_head_with_more_labels_is_taken_over(published):
    weights = {
        "dec.up.4.weight": torch.rand(16, 3, 2, 2).double(),
        "dec.up.4.bias": torch.rand(3).double(),
    }
    model = from_published({**published, **weights})
    assert model.num_labels == 3
    assert torch.equal(model.up[4].bias, weights["dec.up.4.bias"])


def test_the_default_takes_ten_frames_of_256_px_and_four_labels():
    model = MSSNetReleased()
    assert (model.num_frames, model.image_size, model.num_labels) == (10, 256, 4)
    assert not model.streams
