"""The letterbox without torch is the letterbox with it."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from echoseg.preprocess.letterbox import LetterboxResampler, letterbox_for
from echoseg.preprocess.letterbox_torch import letterbox_frames

SIZES = [((112, 112), (0, 0, 112, 112), 160), ((112, 112), (3, 5, 110, 99), 160),
         ((480, 641), (20, 100, 470, 600), 160), ((97, 61), (0, 0, 97, 61), 64),
         ((600, 30), (1, 2, 599, 29), 112)]  # fmt: skip


@pytest.mark.parametrize(("size", "box", "side"), SIZES)
def test_into_the_square_is_what_torch_does(size, box, side):
    frame = np.random.default_rng(0).random(size, np.float32)
    letterbox = letterbox_for(box, side)
    ours = LetterboxResampler(letterbox, size).letterbox_frame(frame)
    assert (
        np.abs(ours - letterbox_frames(torch.from_numpy(frame)[None], letterbox)[0].numpy()).max()
        < 2e-5
    )


@pytest.mark.parametrize(("size", "box", "side"), SIZES)
def test_out_of_the_square_is_what_torch_does(size, box, side):
    logits = np.random.default_rng(0).normal(size=(4, side, side)).astype(np.float32)
    letterbox = letterbox_for(box, side)
    ours = LetterboxResampler(letterbox, size).unletterbox(logits)
    (rows, columns), (top, left) = letterbox.inner_size, (letterbox.top, letterbox.left)
    inner = torch.from_numpy(logits)[None, :, top : top + rows, left : left + columns]
    full = functional.interpolate(inner, (box[2] - box[0], box[3] - box[1]), mode="bilinear")
    inside = (slice(box[0], box[2]), slice(box[1], box[3]))
    assert (ours[inside] == full[0].argmax(0).numpy()).mean() > 0.9999
    outside = np.ones(size, bool)
    outside[inside] = False
    assert not ours[outside].any()


def test_of_equal_logits_the_first_label_wins():
    letterbox = letterbox_for((0, 0, 8, 8), 8)
    assert (
        not LetterboxResampler(letterbox, (8, 8)).unletterbox(np.ones((4, 8, 8), np.float32)).any()
    )


def test_a_grid_needs_no_torch():
    import subprocess
    import sys

    code = "import sys, echoseg.preprocess.letterbox; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
