"""A gated memory at every pixel of a feature map.

h_t = h_(t-1) + g_t * (c_t - h_(t-1)),   g_t = sigmoid(W [c_t, |c_t - h_(t-1)|] + b),   g_1 = 1

A gate near 1 takes the new frame, near 0 keeps the past. The gate sees how far the frame is from
the memory, so a frame of noise can be held off and a moved wall can be let in. On the first frame
the memory *is* the frame: a clip of one frame is segmented as a still.

Reference:
    The update is the convex form of the gated recurrent unit (Cho et al., EMNLP 2014, eq. 7)
    with no recurrent candidate.
"""

import torch
from torch import Tensor, nn


class GatedMemory(nn.Module):
    """One gated memory cell a pixel and channel."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.gate = nn.Conv2d(2 * num_channels, num_channels, 1)
        # sigmoid(1) = 0.73: an untrained memory already leans on the frame it sees
        nn.init.constant_(self.gate.bias, 1.0)  # type: ignore[arg-type]

    def step(self, features: Tensor, memory: Tensor, is_first: Tensor) -> Tensor:
        """Take in one frame.

        Args:
            features: `B C H W` of this frame.
            memory: `B C H W`, or `B C 1 1` before the first frame.
            is_first: `B 1 1 1`, true where no frame has been seen.

        Returns:
            The new memory, `B C H W`; it is the output too.
        """
        change = features - memory
        gate = torch.sigmoid(self.gate(torch.cat([features, change.abs()], 1)))
        return memory + torch.where(is_first, torch.ones_like(gate), gate) * change

    def forward(self, features: Tensor, memory: Tensor, is_first: Tensor) -> Tensor:
        """Take in a clip: `B T C H W` -> `B T C H W`, the memory after each frame."""
        outputs = []
        for frame_features in features.unbind(1):
            memory = self.step(frame_features, memory, is_first)
            is_first = torch.zeros_like(is_first)
            outputs.append(memory)
        return torch.stack(outputs, 1)
