"""What a state-space scan learns by itself: decays, step sizes and the skip.

A scan is given x and, already projected from it, dt, b and c. It makes the step positive,
dt_t = softplus(dt_t + bias), and the decay of a step from it, exp(-dt_t exp(log_a)); the token's x
is written weighted with dt_t, and skip * x_t is added to y_t. `SSDScan` has one decay a head and
runs `nn.ssd`, `SelectiveScan` has one a channel and state and runs `nn.selective_scan`.

Both are called alike, so that one may stand in for the other. Letters: `B` batch, `L` tokens, `E`
channels, `G` groups of E/G channels in a row that share b and c, `N` state size, `R` features of dt
for each group.

Reference:
    Gu and Dao, "Mamba", COLM 2024, section 3.6 and appendix E.2 (initial values); Dao and Gu,
    "Transformers are SSMs", ICML 2024, section 7.
"""

import math
from typing import Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from echoseg.nn.selective_scan import selective_scan_chunked, selective_scan_recurrent
from echoseg.nn.ssd import at_least_float32, ssd_chunked, ssd_recurrent, without_autocast

LEAST_DT = 1e-3
MOST_DT = 0.1
MOST_A = 16.0


class ScanConfig(BaseModel):
    """Shape of a block around a scan, along a sequence (`SSDMixer`) or a map (`ScanSSD2d`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_channels: int = Field(ge=1)
    """Channels of the block's input and output."""
    expand: int = Field(default=2, ge=1)
    """The scan's channels are this many times the block's."""
    head_channels: int = Field(default=32, ge=1)
    """Channels that share one decay (mamba2)."""
    state_size: int = Field(default=16, ge=1)
    """Numbers remembered of each channel."""
    num_groups: int = Field(default=1, ge=1)
    """Groups of channels with b, c of their own."""
    conv_size: int = Field(default=3, ge=1)
    """Side of the depthwise convolution before the scan; 1 is none, Mamba's own is 4."""
    kind: Literal["mamba2", "mamba1"] = "mamba2"
    """Whose recurrence; all else in the block is Mamba-2's."""
    chunk: int = Field(default=64, ge=1)
    """Tokens of a chunk (mamba2); a matter of speed only."""

    @property
    def scan_channels(self) -> int:
        """Channels that are scanned."""
        return self.expand * self.num_channels

    @model_validator(mode="after")
    def _divides(self) -> Self:
        share = self.num_groups * (self.head_channels if self.kind == "mamba2" else 1)
        if self.scan_channels % share:
            raise ValueError(
                f"expand * num_channels must be a multiple of head_channels * num_groups, "
                f"{self.scan_channels} is none of {share}; change head_channels"
            )
        return self


class SSDScan(nn.Module):
    """Mamba-2's scan, one decay a head.

    Args:
        config: Of the block.
        num_directions: Scans side by side, each with its own parameters: E and G are those of the
            config times this, direction by direction.
    """

    def __init__(self, config: ScanConfig, num_directions: int = 1) -> None:
        super().__init__()
        channels = num_directions * config.scan_channels
        self.num_heads = channels // config.head_channels
        self.head_channels, self.state_size = config.head_channels, config.state_size
        self.chunk = config.chunk
        self.log_a = nn.Parameter(torch.empty(self.num_heads).uniform_(1.0, MOST_A).log())
        self.dt_bias = nn.Parameter(_initial_dt_bias(self.num_heads))
        self.skip = nn.Parameter(torch.ones(self.num_heads))

    @staticmethod
    def dt_size(config: ScanConfig) -> int:
        """Return R: the heads of a group."""
        return config.scan_channels // (config.head_channels * config.num_groups)

    def init_state(self, batch_size: int) -> Tensor:
        """Return the state before the first token, `B E/P N P` with P channels a head."""
        return self.skip.new_zeros(batch_size, self.num_heads, self.state_size, self.head_channels)

    def steps(self, dt: Tensor) -> tuple[Tensor, Tensor]:
        """Projected dt, `... E/P` -> the steps' sizes and the logarithms of their decays."""
        dt = functional.softplus(at_least_float32(dt) + self.dt_bias)
        return dt, -self.log_a.exp() * dt

    def forward(
        self, x: Tensor, dt: Tensor, b: Tensor, c: Tensor, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Take in x `B L E`, dt `B L G R`, b and c `B L G N` -> y `B L E` and the new state."""
        dt, log_decay = self.steps(dt.flatten(2))
        heads = x.unflatten(2, (self.num_heads, self.head_channels))
        tokens = (dt[..., None] * heads, log_decay, b, c, state)
        # a single token has no parallel form to gain from
        alone = x.shape[1] == 1
        y, state = ssd_recurrent(*tokens) if alone else ssd_chunked(*tokens, chunk=self.chunk)
        y = y + self.skip[:, None] * heads
        return y.flatten(2).to(x.dtype), state


class SelectiveScan(nn.Module):
    """Mamba-1's scan, a decay for each channel and state; called as `SSDScan`.

    dt has few features and is spread over the channels of its group by a matrix (Mamba, section
    3.6). The state is `B E N`.
    """

    def __init__(self, config: ScanConfig, num_directions: int = 1) -> None:
        super().__init__()
        channels = num_directions * config.scan_channels
        groups, rank = num_directions * config.num_groups, self.dt_size(config)
        states = torch.arange(1.0, config.state_size + 1)
        self.log_a = nn.Parameter(states.log().repeat(channels, 1))
        self.dt_spread = nn.Parameter(
            torch.empty(groups, rank, channels // groups).uniform_(-(rank**-0.5), rank**-0.5)
        )
        self.dt_bias = nn.Parameter(_initial_dt_bias(channels))
        self.skip = nn.Parameter(torch.ones(channels))

    @staticmethod
    def dt_size(config: ScanConfig) -> int:
        """Return R: one feature for sixteen of the block's channels."""
        return math.ceil(config.num_channels / 16)

    def init_state(self, batch_size: int) -> Tensor:
        """Return the state before the first token, `B E N`."""
        return self.skip.new_zeros(batch_size, *self.log_a.shape)

    def forward(
        self, x: Tensor, dt: Tensor, b: Tensor, c: Tensor, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Take in x `B L E`, dt `B L G R`, b and c `B L G N` -> y `B L E` and the new state."""
        with without_autocast(x):
            dt = torch.einsum(
                "blgr,gre->blge", at_least_float32(dt), at_least_float32(self.dt_spread)
            )
        dt = functional.softplus(dt.flatten(2) + self.dt_bias)
        form = selective_scan_recurrent if x.shape[1] == 1 else selective_scan_chunked
        y, state = form(at_least_float32(x), dt, -self.log_a.exp(), b, c, state)
        return (y + self.skip * x).to(x.dtype), state


SCANS: dict[str, type[SSDScan] | type[SelectiveScan]] = {
    "mamba1": SelectiveScan,
    "mamba2": SSDScan,
}


def _initial_dt_bias(number: int) -> Tensor:
    """What softplus turns into steps spread evenly in log from `LEAST_DT` to `MOST_DT`."""
    dt = torch.empty(number).uniform_(math.log(LEAST_DT), math.log(MOST_DT)).exp()
    return dt + torch.log(-torch.expm1(-dt))
