"""Gated memory at every pixel of a feature map.

h_t = h_(t-1) + g_t * (c_t - h_(t-1)),   g_t = sigmoid(W [c_t, |c_t - h_(t-1)|] + b),   g_1 = 1

A gate near 1 takes the new frame, near 0 keeps the past. The gate depends on how far the frame is
from the memory, so it can reject a noisy frame and accept a moved wall. On the first frame the
memory is the frame: a clip of one frame is segmented as a still.

Reference:
    The update is the convex form of the gated recurrent unit (Cho et al., EMNLP 2014, eq. 7)
    without a recurrent candidate.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class GatedMemory(nn.Module):
    """One gated memory cell per pixel and channel."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.gate = nn.Conv2d(2 * num_channels, num_channels, 1)
        # sigmoid(1) = 0.73: an untrained memory already favours the current frame
        nn.init.constant_(self.gate.bias, 1.0)  # type: ignore[arg-type]

    def step(
        self,
        features: Float[Tensor, "B C H W"],
        memory: Float[Tensor, "B C _ _"],
        is_first: Bool[Tensor, "B 1 1 1"],
    ) -> Float[Tensor, "B C H W"]:
        """Process one frame.

        Args:
            features: Features of this frame.
            memory: Memory after the previous frame; `B C 1 1` before the first.
            is_first: True before the first frame.

        Returns:
            The new memory, which is also the output.
        """
        change = features - memory
        gate = torch.sigmoid(self.gate(torch.cat([features, change.abs()], 1)))
        return memory + torch.where(is_first, torch.ones_like(gate), gate) * change

    def forward(
        self,
        features: Float[Tensor, "B T C H W"],
        memory: Float[Tensor, "B C _ _"],
        is_first: Bool[Tensor, "B 1 1 1"],
        bptt_frames: int | None = None,
    ) -> Float[Tensor, "B T C H W"]:
        """Process a clip; returns the memory after each frame.

        The memory is detached after every `bptt_frames` frames.
        """
        outputs = []
        for index, frame_features in enumerate(features.unbind(1)):
            if bptt_frames and index % bptt_frames == 0:
                memory = memory.detach()
            memory = self.step(frame_features, memory, is_first)
            is_first = torch.zeros_like(is_first)
            outputs.append(memory)
        return torch.stack(outputs, 1)
