"""A gated recurrent unit whose products are 3x3 convolutions.

    z_t = sigmoid(W_z * [x_t, h_(t-1)])         how much is new
    r_t = sigmoid(W_r * [x_t, h_(t-1)])         what of the past the candidate sees
    c_t = tanh(W_c * [x_t, r_t h_(t-1)])
    h_t = (1 - z_t) h_(t-1) + z_t c_t,   h_0 = 0

Reference:
    Ballas, Yao, Pal and Courville, ICLR 2016, the convolutional GRU.
"""

import torch
from torch import Tensor, nn


class ConvGRU(nn.Module):
    """The unit; `[,]` joins channels, `*` convolves with a bias."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(2 * num_channels, 2 * num_channels, 3, 1, 1)
        self.candidate = nn.Conv2d(2 * num_channels, num_channels, 3, 1, 1)

    def step(self, features: Tensor, memory: Tensor) -> Tensor:
        """Take in one frame.

        Args:
            features: `B C H W` of this frame.
            memory: `B C H W`, or `B 1 1 1` of zeros before the first frame.

        Returns:
            The new memory, `B C H W`; it is the output too.
        """
        memory = memory.expand_as(features)
        gates = torch.sigmoid(self.gates(torch.cat([features, memory], 1)))
        new, seen = gates.chunk(2, 1)
        candidate = torch.tanh(self.candidate(torch.cat([features, seen * memory], 1)))
        return memory + new * (candidate - memory)

    def forward(self, features: Tensor, memory: Tensor) -> Tensor:
        """Take in a clip: `B T C H W` -> `B T C H W`, the memory after each frame."""
        outputs = []
        for frame_features in features.unbind(1):
            memory = self.step(frame_features, memory)
            outputs.append(memory)
        return torch.stack(outputs, 1)
