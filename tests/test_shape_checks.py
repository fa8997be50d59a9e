"""The shapes in signatures are checked in this test session, and only there."""

import subprocess
import sys

import pytest
import torch

pytest.importorskip("beartype")
from jaxtyping import TypeCheckError

from echoseg.nn.blocks import UpBlock
from echoseg.nn.ssd import ssd_chunked


def test_a_wrong_shape_is_caught_before_it_broadcasts():
    block = UpBlock(4, 3, 2)
    with pytest.raises(TypeCheckError, match="skip"):
        block(torch.randn(2, 4, 5, 5), torch.randn(1, 3, 10, 10))


def test_a_function_refuses_by_itself_first():
    x, decay, b = torch.randn(1, 3, 2, 4), torch.zeros(1, 3), torch.randn(1, 3, 1, 4)
    with pytest.raises(ValueError, match="log_decay must be"):
        ssd_chunked(x, decay, b, b)


def test_nothing_is_checked_outside_of_tests():
    code = """
import sys, torch
from echoseg.nn.blocks import UpBlock
assert UpBlock(4, 3, 2)(torch.randn(2, 4, 5, 5), torch.randn(1, 3, 10, 10)).shape[0] == 2
assert "beartype" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
