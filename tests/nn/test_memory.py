import torch

from echoseg.nn.memory import GatedMemory


def test_the_first_frame_is_the_memory():
    memory = GatedMemory(3)
    features = torch.randn(2, 1, 3, 4, 5)
    out = memory(features, torch.zeros(2, 3, 1, 1), torch.ones(2, 1, 1, 1, dtype=torch.bool))
    assert torch.allclose(out, features, atol=1e-6)


def test_the_update_is_the_equation_written_out():
    memory = GatedMemory(2)
    past, now = torch.randn(1, 2, 3, 3), torch.randn(1, 2, 3, 3)
    weight, bias = memory.gate.weight[:, :, 0, 0], memory.gate.bias
    seen = torch.cat([now, (now - past).abs()], 1)
    gate = torch.sigmoid(torch.einsum("oi,bihw->bohw", weight, seen) + bias[:, None, None])
    expected = past + gate * (now - past)
    is_first = torch.zeros(1, 1, 1, 1, dtype=torch.bool)
    assert torch.allclose(memory.step(now, past, is_first), expected, atol=1e-6)


def test_the_memory_stays_between_past_and_present():
    memory = GatedMemory(4)
    past, now = torch.randn(1, 4, 6, 6), torch.randn(1, 4, 6, 6)
    out = memory.step(now, past, torch.zeros(1, 1, 1, 1, dtype=torch.bool))
    assert (out >= torch.minimum(past, now) - 1e-6).all()
    assert (out <= torch.maximum(past, now) + 1e-6).all()
