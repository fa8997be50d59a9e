import torch
from torch.nn import functional

from experiments.networks.conv_gru import ConvGRU


def set_bias(gru, gate):
    """Open (+) or close (-) the update gate, the first half of `gates`."""
    torch.nn.init.zeros_(gru.gates.weight)
    torch.nn.init.constant_(gru.gates.bias, gate)


def test_the_step_is_the_equations_written_out():
    gru = ConvGRU(2)
    x, h = torch.randn(1, 2, 5, 6), torch.randn(1, 2, 5, 6)
    both = torch.cat([x, h], 1)
    parts = zip(gru.gates.weight.split(2), gru.gates.bias.split(2), strict=True)
    z, r = (torch.sigmoid(functional.conv2d(both, w, b, padding=1)) for w, b in parts)
    c = gru.candidate
    seen = torch.cat([x, r * h], 1)
    candidate = torch.tanh(functional.conv2d(seen, c.weight, c.bias, padding=1))
    assert torch.allclose(gru.step(x, h), (1 - z) * h + z * candidate, atol=1e-6)


def test_a_shut_gate_keeps_the_past_and_an_open_one_forgets_it():
    gru = ConvGRU(3)
    x, h = torch.randn(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    set_bias(gru, -50)
    assert torch.allclose(gru.step(x, h), h, atol=1e-6)
    set_bias(gru, 50)
    torch.nn.init.zeros_(gru.candidate.weight[:, 3:])
    assert torch.allclose(gru.step(x, h), gru.step(x, torch.zeros_like(h)), atol=1e-6)


def test_a_clip_is_its_steps_and_stays_between_minus_one_and_one():
    gru = ConvGRU(4)
    frames = 5 * torch.randn(2, 6, 4, 3, 5)
    memory = torch.zeros(2, 4, 1, 1)
    whole = gru(frames, memory)
    for index, frame in enumerate(frames.unbind(1)):
        memory = gru.step(frame, memory)
        assert torch.equal(whole[:, index], memory)
    assert whole.abs().max() <= 1
