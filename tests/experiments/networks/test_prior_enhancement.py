"""OSA's feature enhancement against its formulas."""

import torch
from torch.nn import functional

from experiments.networks.gdkvm import GDKVM
from experiments.networks.prior_enhancement import PriorEnhancement


def test_the_output_follows_the_formulas():
    torch.manual_seed(0)
    module, x = PriorEnhancement(6, kernel=3).eval(), torch.randn(2, 6, 7, 5)
    field = functional.avg_pool2d(functional.pad(x, [1] * 4), 3, 1)
    counts = functional.avg_pool2d(functional.pad(torch.ones(1, 1, 7, 5), [1] * 4), 3, 1)
    field = field / counts
    torch.testing.assert_close(module.field(x), field)
    above, below = (x - field).clamp(min=0), (field - x).clamp(min=0)
    torch.testing.assert_close(above - below + field, x)  # nothing is lost
    above, below = module.above(above), module.below(below)
    gate = module.gate(torch.cat([above, below], 1)).sigmoid()
    torch.testing.assert_close(module(x), gate * above + (1 - gate) * below)


def test_a_smooth_gain_does_not_matter():
    module = PriorEnhancement(4).eval()
    x = torch.randn(1, 4, 9, 9)
    torch.testing.assert_close(module(x + 3), module(x))
    assert module(torch.full((1, 4, 9, 9), 0.7)).abs().max() < 1e-5


def test_gdkvm_with_it_streams_and_learns_through_it():
    torch.manual_seed(0)
    model = GDKVM(prior_enhancement=True, orthogonal_steps=5).eval()
    frames, state = torch.rand(1, 3, 1, 32, 48), model.init_state(1)
    outputs = []
    for frame in frames.unbind(1):
        logits, state = model.step(frame, state)
        outputs.append(logits)
    torch.testing.assert_close(torch.stack(outputs, 1), model(frames), atol=1e-4, rtol=1e-4)
    model.train()(frames).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.enhance.parameters())
    assert "enhance" not in " ".join(GDKVM().state_dict())  # older checkpoints still load
