import pytest
import torch

from echoseg.errors import ModelError
from echoseg.models.windows import each_frame
from experiments.networks.conv_gru_unet import ConvGRUUNet


class SumOfThree:
    """Takes three frames at once; every logit is the sum over them."""

    streams, num_frames = False, 3

    def __call__(self, frames):
        return frames.sum(1, keepdim=True).expand_as(frames)


def powers(num_frames):
    """Frames of one pixel whose sums tell which frames they are of."""
    return [torch.full((1, 1, 1, 1), 2.0**index) for index in range(num_frames)]


def answers(num_frames):
    return [logits.item() for logits in each_frame(SumOfThree(), iter(powers(num_frames)))]


def test_a_frame_is_answered_by_the_first_window_that_holds_it():
    assert answers(3) == [7] * 3
    assert answers(6) == [7] * 3 + [56] * 3
    assert answers(7) == [7] * 3 + [56] * 3 + [16 + 32 + 64]
    assert answers(5) == [7] * 3 + [4 + 8 + 16] * 2


def test_logits_keep_a_batch_axis_of_one():
    assert all(logits.shape == (1, 1, 1, 1) for logits in each_frame(SumOfThree(), powers(5)))


@pytest.mark.parametrize("num_frames", [1, 2])
def test_a_clip_shorter_than_the_window_is_refused(num_frames):
    with pytest.raises(ModelError, match=f"at least 3 frames.* got {num_frames}; give a longer"):
        answers(num_frames)


def test_no_frames_give_no_answers():
    assert answers(0) == []


def test_a_streaming_model_is_stepped_and_answers_at_once():
    model = ConvGRUUNet().eval()
    frames = torch.rand(1, 3, 1, 32, 32)
    asked = []

    def frame_by_frame():
        for index, frame in enumerate(frames.unbind(1)):
            asked.append(index)
            yield frame

    with torch.inference_mode():
        whole = model(frames)[0]
        for index, logits in enumerate(each_frame(model, frame_by_frame())):
            assert asked == list(range(index + 1))
            assert (logits[0] - whole[index]).abs().max() <= 1e-4
