import pytest
import torch

from experiments.networks.level_fusion import LevelFusion
from experiments.networks.window_scan import WindowScan, from_windows, to_windows


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (16, 3), (9, 24)])
@pytest.mark.parametrize("side", [1, 4, 8])
def test_windows_go_back_where_they_were_cut(size, side):
    x = torch.rand(2, 3, *size)
    windows = to_windows(x, side)
    assert windows.shape[1:] == (3, side, side)
    assert torch.equal(from_windows(windows, size), x)


def test_a_window_is_a_square_of_the_map():
    x = torch.arange(24.0).view(1, 1, 4, 6)
    assert to_windows(x, 2)[1].tolist() == [[[2.0, 3.0], [8.0, 9.0]]]


def reach(scan, size, place):
    """Return which places change when one does."""
    x = torch.randn(1, scan.local[0].in_channels, *size, dtype=torch.float64)
    y = x.clone()
    y[0, :, place[0], place[1]] += torch.randn(x.shape[1])  # not one shift: the norm undoes it
    with torch.no_grad():
        return (scan(x) - scan(y)).abs().amax((0, 1)) > 1e-12


def test_a_place_is_seen_in_its_windows_and_one_step_over_their_borders():
    torch.manual_seed(0)
    scan = WindowScan(8, (4, 8)).double()
    torch.nn.init.dirac_(scan.local[0].weight, 8)  # the border step off
    seen = reach(scan, (16, 16), (1, 1))
    assert seen[:8, :8].all() and not seen[8:].any() and not seen[:, 8:].any()


def test_a_window_as_large_as_the_map_sees_it_whole():
    assert reach(WindowScan(8, (4, 8)).double(), (6, 7), (0, 0)).all()


def test_channels_that_cannot_be_shared_out_are_refused():
    with pytest.raises(ValueError, match="multiple of the 2 window sizes, got 7"):
        WindowScan(7)


def test_fusion_adds_up_what_the_gates_let_through():
    fusion = LevelFusion((3, 5), 4).eval()
    fusion.mix = torch.nn.Identity()
    levels = [torch.rand(1, 3, 2, 2), torch.rand(1, 5, 4, 4)]
    aligned = fusion.aligned(levels)
    for attend in fusion.attend:  # both gates wide open
        torch.nn.init.constant_(attend[0].weigh[2].weight, 0)
        torch.nn.init.constant_(attend[0].weigh[2].bias, 50)
        torch.nn.init.constant_(attend[1].weigh.weight, 0)
        torch.nn.init.constant_(attend[1].weigh.bias, 50)
    small = torch.nn.functional.interpolate(aligned[0], size=(4, 4), mode="bilinear")
    assert torch.allclose(fusion(aligned, (4, 4)), small + aligned[1], atol=1e-6)
