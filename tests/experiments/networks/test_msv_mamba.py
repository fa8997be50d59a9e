import torch

from echoseg.losses import cross_entropy_dice_loss, level_loss
from experiments.networks.msv_mamba import MSVMamba, MSVMambaConfig


def net():
    torch.manual_seed(0)
    return MSVMamba(MSVMambaConfig(widths=(4, 8, 8, 16), windows=(2, 4), fused_width=8)).eval()


def test_it_has_less_than_five_million_parameters():
    assert sum(p.numel() for p in MSVMamba().parameters()) < 5_000_000


def test_every_level_draws_the_whole_frame_and_the_first_is_the_answer():
    model, frames = net(), torch.rand(2, 1, 48, 32)
    with torch.inference_mode():
        levels = model.level_logits(frames)
        assert [each.shape for each in levels] == [(2, 4, 48, 32)] * 5
        assert torch.allclose(levels[0], model.segment(frames), atol=1e-5)


def test_the_loss_of_all_levels_reaches_each_and_adds_up():
    model, frames = net().train(), torch.rand(2, 1, 32, 32)
    masks = torch.randint(0, 4, (2, 32, 32))
    levels = model.level_logits(frames)
    single = [cross_entropy_dice_loss(each, masks) for each in levels]
    found = level_loss(levels, masks, weight=0.5)
    assert torch.allclose(found, single[0] + 0.5 * sum(single[1:]) / 4)
    assert torch.equal(level_loss(levels[:1], masks), single[0])
    for align in model.fusion.align:  # each level's own loss alone
        (gradient,) = torch.autograd.grad(sum(single[1:]), align.weight, retain_graph=True)
        assert gradient.abs().max() > 0


def test_it_learns_one_frame():
    model = net().train()
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    masks = (((rows - 14) ** 2 + (columns - 18) ** 2) < 64).long()[None]
    frames = 0.8 * masks[:, None].float() + 0.1 * torch.rand(1, 1, 32, 32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(30):
        loss = level_loss(model.level_logits(frames), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = model.segment(frames).argmax(1) == 1
    overlap = (found & (masks == 1)).sum()
    assert 2 * overlap / (found.sum() + masks.sum()) > 0.9
