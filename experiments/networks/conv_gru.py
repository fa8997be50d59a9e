"""Convolutional gated recurrent unit: a GRU whose products are 3x3 convolutions.

    z_t = sigmoid(W_z * [x_t, h_(t-1)])         update gate
    r_t = sigmoid(W_r * [x_t, h_(t-1)])         reset gate
    c_t = tanh(W_c * [x_t, r_t h_(t-1)])
    h_t = (1 - z_t) h_(t-1) + z_t c_t,   h_0 = 0

Reference:
    Ballas, Yao, Pal and Courville, ICLR 2016, the convolutional GRU.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ConvGRU(nn.Module):
    """The unit; `[,]` concatenates channels, `*` is a convolution with bias."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(2 * num_channels, 2 * num_channels, 3, 1, 1)
        self.candidate = nn.Conv2d(2 * num_channels, num_channels, 3, 1, 1)

    def step(
        self, features: Float[Tensor, "B C H W"], memory: Float[Tensor, "B _ _ _"]
    ) -> Float[Tensor, "B C H W"]:
        """Process one frame.

        Args:
            features: Features of this frame.
            memory: Memory after the previous frame; zeros of shape `B 1 1 1` before the first.

        Returns:
            The new memory, which is also the output.
        """
        memory = memory.expand_as(features)
        gates = torch.sigmoid(self.gates(torch.cat([features, memory], 1)))  # (B, 2C, H, W)
        update, reset = gates.chunk(2, 1)
        candidate = torch.tanh(self.candidate(torch.cat([features, reset * memory], 1)))
        return memory + update * (candidate - memory)

    def forward(
        self, features: Float[Tensor, "B T C H W"], memory: Float[Tensor, "B _ _ _"]
    ) -> Float[Tensor, "B T C H W"]:
        """Process a clip; returns the memory after each frame."""
        outputs = []
        for frame_features in features.unbind(1):
            memory = self.step(frame_features, memory)
            outputs.append(memory)
        return torch.stack(outputs, 1)
