"""Guidance: weights stay weights, follow what moves, and hold through frames that show nothing."""

import pytest
import torch

from echoseg.nn.guidance import FrameParts, GuidanceState, SpatiotemporalGuidance

NUM_OFFSETS = 49
MEMORIES = ["none", "features", "values", "guidance"]


def built(memory="guidance", channels=32, carry=None):
    torch.manual_seed(0)
    guidance = SpatiotemporalGuidance(channels, memory).eval()
    if carry is not None:  # logit of the carry gate, everywhere
        torch.nn.init.constant_(guidance.gate_frame.bias, carry)
    return guidance


def run(guidance, frames):
    """Outputs of clips `B T H W C`, and the last state."""
    state, outputs = guidance.init_state(len(frames)), []
    for frame in frames.unbind(1):
        windows = guidance.windows(frame)
        out, state = guidance.step(guidance.prepare(frame, windows), state, windows)
        outputs.append(out)
    return outputs, state


def looped(guidance, frame, state, is_first):
    """One step of the equations, token by token, in the paper's form: (h, P, D, carry logit)."""
    height, width, _ = frame.shape
    heads, radius = guidance.num_heads, 3
    normalize = torch.nn.functional.normalize
    offsets = [(y, x) for y in range(-radius, radius + 1) for x in range(-radius, radius + 1)]

    def about(i, j):
        return [(min(max(i + y, 0), height - 1), min(max(j + x, 0), width - 1)) for y, x in offsets]

    def embed(x):
        return normalize(guidance.embed(guidance.norm(x)), dim=-1)

    def sampled(x, i, j):
        row, column = i.clamp(0, height - 1), j.clamp(0, width - 1)
        return sum(
            (1 - (row - y).abs()).clamp(min=0) * (1 - (column - z).abs()).clamp(min=0) * x[y, z]
            for y in range(height)
            for z in range(width)
        )

    normed, (weights, before) = guidance.norm(frame), state
    query, key = (
        normalize(part.unflatten(-1, (heads, -1)), dim=-1)
        for part in guidance.query_key(normed).chunk(2, -1)
    )
    value, embedding, old = guidance.value(normed), embed(frame), embed(before)
    results = []
    for i in range(height):
        for j in range(width):
            places = about(i, j)
            logits = torch.stack([(query[i, j] * key[p]).sum(-1) for p in places], 1)
            own = (guidance.log_sharpness.exp() * logits).softmax(1)  # (heads, D)
            inside = [
                (i + y, j + x) for y, x in offsets if 0 <= i + y < height and 0 <= j + x < width
            ]
            centered = embedding[i, j] - torch.stack([embedding[p] for p in inside]).mean(0)
            prior = torch.tensor([y * y + x * x for y, x in offsets]) / (
                2 * guidance.log_reach.exp() ** 2
            )
            similarity = torch.stack([centered @ old[p] for p in places])
            match = (guidance.log_match.exp() * similarity - prior).softmax(0)
            shift = (match[:, None] * torch.tensor(offsets)).sum(0)  # rows, columns
            moved = sampled(before, i + shift[0], j + shift[1])
            past = sampled(weights, i + shift[0], j + shift[1]).view(heads, -1)
            results.append((own, past, moved, shift, places, embedding[i, j]))
    carried = torch.stack([each[2] for each in results]).view_as(frame)
    past_value = guidance.value(guidance.norm(carried))
    outputs = []
    for number, (own, past, moved, shift, places, embedded) in enumerate(results):
        f = frame[number // width, number % width]
        uncertainty = -own.amax(-1).log().mean() / torch.tensor(49.0).log()
        logit = (
            guidance.gate_frame(guidance.norm(f))
            + guidance.gate_change((f - moved).abs())
            + guidance.gate_uncertainty * uncertainty
            + guidance.gate_agreement * (embedded @ embed(moved))
        )
        c = torch.zeros(1) if is_first else logit.sigmoid()
        own_read, past_read = (
            torch.stack(
                [
                    sum(w * v[p].view(heads, -1)[h] for w, p in zip(rows[h], places, strict=True))
                    for h in range(heads)
                ]
            ).flatten()
            for rows, v in ((own, value), (past, past_value))
        )
        y = f + guidance.out((1 - c) * own_read + c * past_read)
        outputs.append(
            ((1 - c) * y + c * moved, ((1 - c) * own + c * past).flatten(), shift.flip(0), logit)
        )
    return [torch.stack(each).view(height, width, -1) for each in zip(*outputs, strict=True)]


def test_it_is_the_equations_in_values_and_gradients():
    guidance = built(channels=8, carry=0.3)
    for parameter in guidance.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    first, second = (0.5 * torch.randn(2, 1, 1, 3, 4, 8)).unbind()
    (one, two), state = run(guidance, torch.cat([first, second], 1))
    start = (torch.zeros(3, 4, 98), torch.zeros(3, 4, 8))
    h, weights, _, _ = looped(guidance, first[0, 0], start, is_first=True)
    assert torch.allclose(one.features[0], h, atol=1e-5)
    h, weights, shift, logit = looped(guidance, second[0, 0], (weights, h), is_first=False)
    for given, expected in (
        (two.features, h), (state.weights, weights), (two.displacement, shift), (two.carry, logit)
    ):  # fmt: skip
        assert torch.allclose(given[0], expected, atol=1e-5)
    probe = torch.randn_like(h)
    parameters = list(guidance.parameters())
    for name, a, b in zip(
        dict(guidance.named_parameters()),
        torch.autograd.grad((two.features[0] * probe).sum(), parameters),
        torch.autograd.grad((h * probe).sum(), parameters),
        strict=True,
    ):
        assert torch.allclose(a, b, atol=1e-4), name


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 9), (6, 7), (4, 35)])
def test_any_size_and_length(memory, height, width):
    guidance = built(memory)
    for num_frames in (1, 4):
        frames = torch.randn(2, num_frames, height, width, 32)
        outputs, state = run(guidance, frames)
        assert all(out.features.shape == frames[:, 0].shape for out in outputs)
        carries = memory == "guidance"
        size = (height, width) if carries else (1, 1)
        assert state.weights.shape == (2, *size, 2 * NUM_OFFSETS)


def test_weights_stay_probabilities_over_a_long_clip():
    guidance = built(carry=2.0)
    state = guidance.init_state(1)
    with torch.inference_mode():
        for _ in range(200):
            frame = 3 * torch.randn(1, 5, 6, 32)
            windows = guidance.windows(frame)
            out, state = guidance.step(guidance.prepare(frame, windows), state, windows)
            rows = state.weights.unflatten(3, (2, NUM_OFFSETS))
            assert rows.min() >= 0
            assert torch.allclose(rows.sum(-1), torch.ones(()), atol=1e-4)
    assert out.features.isfinite().all()


@pytest.mark.parametrize("memory", ["features", "values", "guidance"])
def test_the_first_frame_stands_alone(memory):
    """No past: what a guidance without memory gives, whatever the gate says."""
    guidance, alone = built(memory, carry=20.0), built("none")
    alone.load_state_dict(guidance.state_dict(), strict=False)
    frames = torch.randn(2, 1, 6, 7, 32)
    with torch.inference_mode():
        assert torch.equal(run(guidance, frames)[0][0].features, run(alone, frames)[0][0].features)


def match_of(guidance, now, before):
    """Displacement between two maps of embeddings, given as features that embed to themselves."""
    guidance.norm, guidance.embed = torch.nn.Identity(), torch.nn.Identity()
    windows = guidance.windows(now)
    with torch.no_grad():
        guidance.log_match.fill_(4.0)
        mean = torch.nn.functional.avg_pool2d(
            now.movedim(-1, 1), 7, 1, 3, count_include_pad=False
        ).movedim(1, -1)
        return guidance._match(guidance.log_match.exp() * (now - mean), before, windows)


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, -2), (2, 3)])
def test_the_displacement_of_a_shifted_picture_is_the_shift(shift):
    torch.manual_seed(3)
    before = torch.nn.functional.normalize(torch.randn(1, 14, 16, 32), dim=-1)
    now = torch.roll(before, shift, (1, 2))
    displacement = match_of(built(), now, before)[0, 3:-3, 3:-3]
    expected = torch.tensor([-shift[1], -shift[0]], dtype=torch.float32)
    assert (displacement - expected).abs().max() < 0.1


def test_on_a_flat_frame_the_memory_stays_where_it_is():
    """Whatever the memory shows and the flat frame looks like: D = 0, also at the edges."""
    torch.manual_seed(4)
    before = torch.nn.functional.normalize(torch.randn(1, 9, 20, 32), dim=-1)
    flat = torch.nn.functional.normalize(torch.randn(32), dim=0).expand_as(before)
    assert match_of(built(), flat, before).abs().max() < 1e-4
    guidance = built(carry=30.0)
    state = GuidanceState(
        torch.rand(1, 9, 20, 98).softmax(-1), before, torch.zeros(1, 1, 1, 1, dtype=torch.bool)
    )
    with torch.no_grad():
        windows = guidance.windows(flat)
        for _ in range(20):
            out, state = guidance.step(guidance.prepare(flat, windows), state, windows)
    assert (out.features - before).abs().max() < 1e-3


@pytest.mark.parametrize("memory", MEMORIES)
def test_gradients_reach_every_parameter_through_time(memory):
    guidance = built(memory, channels=16)
    for name, parameter in guidance.named_parameters():
        if name.startswith("gate"):
            torch.nn.init.normal_(parameter, std=0.1)
    frames = torch.randn(1, 3, 5, 4, 16, requires_grad=True)
    outputs, _ = run(guidance, frames)
    outputs[-1].features.square().sum().backward()
    for name, parameter in guidance.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
    depends = frames.grad[:, 0].abs().max() > 0
    assert depends == (memory != "none")


def test_the_memories_read_what_they_say():
    """With the gate open: features reads the frame, values the past with the frame's weights."""
    frames = torch.randn(1, 2, 5, 6, 32)
    with torch.inference_mode():
        parts = {}
        for memory in ("features", "values", "guidance"):
            guidance = built(memory, carry=0.0)
            torch.nn.init.normal_(guidance.out.weight)
            outputs, _ = run(guidance, frames)
            parts[memory] = outputs[1].features
            assert torch.equal(outputs[1].carry, torch.zeros(1, 5, 6, 1))
        for one, other in (("features", "values"), ("values", "guidance")):
            assert (parts[one] - parts[other]).abs().max() > 1e-3
        # the same where all that is carried is the frame itself
        same = frames[:, :1].expand(-1, 2, -1, -1, -1)
        still = {m: run(flat_match(built(m, carry=0.0)), same)[1] for m in parts}
        weights = run(built(), same[:, :1])[1].weights
        assert torch.allclose(still["guidance"].weights, weights, atol=1e-3)


def flat_match(guidance):
    """A guidance that matches every token with its own place."""
    torch.nn.init.constant_(guidance.log_reach, -5.0)
    return guidance


def test_a_batch_equals_its_clips():
    guidance, frames = built(carry=0.0), torch.randn(3, 6, 6, 7, 32)
    with torch.inference_mode():
        _, whole = run(guidance, frames)
        alone = [run(guidance, one[None])[1] for one in frames]
    for part, parts in zip(whole, zip(*alone, strict=True), strict=True):
        assert torch.allclose(torch.cat(parts).float(), part.float(), atol=1e-5)


def test_parts_are_named_as_the_step_takes_them():
    guidance, frame = built(), torch.randn(2, 4, 4, 32)
    parts = guidance.prepare(frame, guidance.windows(frame))
    assert isinstance(parts, FrameParts) and torch.equal(parts.tokens, frame)
    assert torch.allclose(parts.embedding.norm(dim=-1), torch.ones(2, 4, 4), atol=1e-5)
