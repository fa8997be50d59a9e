"""The Mamba-2 block along a sequence, and its gated norm.

    z, u, dt = W_in x
    x', b, c = silu(conv(u))          depthwise, causal
    y        = scan(x', dt, b, c)     nn.scans
    out      = W_out rmsnorm(y * silu(z))

Reference:
    Dao and Gu, "Transformers are SSMs", ICML 2024, section 7 and figure 6 (right).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoseg.nn.scans import SCANS, ScanConfig
from echoseg.nn.ssd import at_least_float32


class MixerState(NamedTuple):
    """What an `SSDMixer` carries from token to token."""

    recent: Tensor
    """The convolution's input of the last tokens, `B conv_size-1 E+2GN`."""
    scan: Tensor
    """The scan's state."""


class GatedNorm(nn.Module):
    """y, z -> weight * rmsnorm(y * silu(z)) over the last dimension, counted in float32."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_channels))

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        """`... E` and `... E` -> `... E`."""
        gated = at_least_float32(y) * functional.silu(at_least_float32(z))
        weight = at_least_float32(self.weight)
        return functional.rms_norm(gated, weight.shape, weight, eps=1e-5).to(y.dtype)


class SSDMixer(nn.Module):
    """A Mamba-2 block over a sequence, without the norm before and the residual around it."""

    def __init__(self, config: ScanConfig) -> None:
        super().__init__()
        self.config = config
        inner, written = config.scan_channels, config.num_groups * config.state_size
        scan = SCANS[config.kind]
        self.scan_widths = [inner, written, written]
        self.widths = [inner, sum(self.scan_widths), config.num_groups * scan.dt_size(config)]
        self.project = nn.Linear(config.num_channels, sum(self.widths), bias=False)
        width, size = self.widths[1], config.conv_size
        self.conv = nn.Conv1d(width, width, size, groups=width) if size > 1 else None
        self.scan = scan(config)
        self.norm = GatedNorm(inner)
        self.out = nn.Linear(inner, config.num_channels, bias=False)

    def init_state(self, batch_size: int) -> MixerState:
        """Return the state before the first token, on the module's device and type."""
        recent = self.out.weight.new_zeros(batch_size, self.config.conv_size - 1, self.widths[1])
        return MixerState(recent, self.scan.init_state(batch_size))

    def step(self, x: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """Take in one token: `B D` and the state -> `B D` and the new state."""
        y, state = self(x[:, None], state)
        return y[:, 0], state

    def forward(self, x: Tensor, state: MixerState | None = None) -> tuple[Tensor, MixerState]:
        """Take in tokens: `B L D` -> `B L D` and the state after the last; equals stepping."""
        state = self.init_state(x.shape[0]) if state is None else state
        z, mixed, dt = self.project(x).split(self.widths, -1)
        mixed, recent = self._convolve(mixed, state.recent)
        tokens, b, c = mixed.split(self.scan_widths, -1)
        b, c, dt = (each.unflatten(-1, (self.config.num_groups, -1)) for each in (b, c, dt))
        y, scan = self.scan(tokens, dt, b, c, state.scan)
        return self.out(self.norm(y, z)), MixerState(recent, scan)

    def _convolve(self, x: Tensor, recent: Tensor) -> tuple[Tensor, Tensor]:
        """`B L F` after the tokens before it -> `B L F` and the last tokens."""
        if self.conv is None:
            return functional.silu(x), recent
        joined = torch.cat([recent, x], 1)
        y = functional.silu(self.conv(joined.mT).mT)
        return y, joined[:, x.shape[1] :]
