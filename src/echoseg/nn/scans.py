"""State-space scans with their learned parameters: decays, step sizes and the skip.

A scan takes x and the projections dt, b and c of it. The step is dt_t = softplus(dt_t + bias), its
decay exp(-dt_t exp(log_a)); x_t is written with weight dt_t, and skip * x_t is added to y_t.
`SSDScan` has one decay per head and runs `nn.ssd`; `SelectiveScan` has one per channel and state
dimension and runs `nn.selective_scan`. Both have the same signature.

Letters: `B` batch, `L` tokens, `E` channels, `G` directions of E/G consecutive channels that share
b and c, `N` state size, `R` features of dt per direction, `P` channels of a head.

Reference:
    Gu and Dao, "Mamba", COLM 2024, section 3.6 and appendix E.2 (initial values); Dao and Gu,
    "Transformers are SSMs", ICML 2024, section 7.
"""

import math
from typing import Literal, Self

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from echoseg.nn.selective_scan import selective_scan_chunked
from echoseg.nn.ssd import at_least_float32, ssd_chunked, without_autocast

MIN_DT = 1e-3
MAX_DT = 0.1
MAX_A = 16.0


class ScanConfig(BaseModel):
    """Configuration of a block around a scan."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_channels: int = Field(ge=1)
    """Channels of the block's input, scan and output."""
    head_channels: int = Field(default=32, ge=1)
    """Channels that share one decay (mamba2)."""
    state_size: int = Field(default=16, ge=1)
    """State dimensions per channel."""
    kind: Literal["mamba2", "mamba1"] = "mamba2"
    """The recurrence; the rest of the block is always Mamba-2's."""
    chunk: int = Field(default=64, ge=1)
    """Tokens per chunk (mamba2); affects speed only."""

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.kind == "mamba2" and self.num_channels % self.head_channels:
            raise ValueError(
                f"num_channels must be a multiple of head_channels ({self.head_channels}), got "
                f"{self.num_channels}; change head_channels"
            )
        return self


class SSDScan(nn.Module):
    """Mamba-2's scan, one decay per head.

    Args:
        config: Configuration of the block.
        num_directions: G, parallel scans with separate parameters; E is `num_channels` times this
            number, direction by direction.
    """

    def __init__(self, config: ScanConfig, num_directions: int = 1) -> None:
        super().__init__()
        channels = num_directions * config.num_channels
        self.num_heads = channels // config.head_channels
        self.head_channels, self.state_size = config.head_channels, config.state_size
        self.chunk = config.chunk
        self.log_a = nn.Parameter(torch.empty(self.num_heads).uniform_(1.0, MAX_A).log())
        self.dt_bias = nn.Parameter(_initial_dt_bias(self.num_heads))
        self.skip = nn.Parameter(torch.ones(self.num_heads))

    @staticmethod
    def dt_size(config: ScanConfig) -> int:
        """R: the heads of a direction."""
        return config.num_channels // config.head_channels

    def steps(
        self, dt: Float[Tensor, "*B heads"]
    ) -> tuple[Float[Tensor, "*B heads"], Float[Tensor, "*B heads"]]:
        """Compute step sizes from the projected dt, and the logarithms of their decays."""
        dt = functional.softplus(at_least_float32(dt) + self.dt_bias)
        return dt, -self.log_a.exp() * dt

    def forward(
        self,
        x: Float[Tensor, "B L E"],
        dt: Float[Tensor, "B L G R"],
        b: Float[Tensor, "B L G N"],
        c: Float[Tensor, "B L G N"],
    ) -> Float[Tensor, "B L E"]:
        """Scan tokens from an empty state."""
        dt, log_decay = self.steps(dt.flatten(2))  # (B, L, heads)
        heads = x.unflatten(2, (self.num_heads, self.head_channels))  # (B, L, heads, P)
        y, _ = ssd_chunked(dt[..., None] * heads, log_decay, b, c, chunk=self.chunk)
        return (y + self.skip[:, None] * heads).flatten(2).to(x.dtype)


class SelectiveScan(nn.Module):
    """Mamba-1's scan, one decay per channel and state dimension.

    dt has few features, which a matrix expands to the channels of a direction (Mamba, section 3.6).
    """

    def __init__(self, config: ScanConfig, num_directions: int = 1) -> None:
        super().__init__()
        channels = num_directions * config.num_channels
        rank = self.dt_size(config)
        states = torch.arange(1.0, config.state_size + 1)
        self.log_a = nn.Parameter(states.log().repeat(channels, 1))
        self.dt_spread = nn.Parameter(
            torch.empty(num_directions, rank, config.num_channels).uniform_(
                -(rank**-0.5), rank**-0.5
            )
        )
        self.dt_bias = nn.Parameter(_initial_dt_bias(channels))
        self.skip = nn.Parameter(torch.ones(channels))

    @staticmethod
    def dt_size(config: ScanConfig) -> int:
        """R: one feature per sixteen channels of the block."""
        return math.ceil(config.num_channels / 16)

    def forward(
        self,
        x: Float[Tensor, "B L E"],
        dt: Float[Tensor, "B L G R"],
        b: Float[Tensor, "B L G N"],
        c: Float[Tensor, "B L G N"],
    ) -> Float[Tensor, "B L E"]:
        """Scan tokens from an empty state."""
        with without_autocast(x):
            dt = torch.einsum(
                "blgr,gre->blge", at_least_float32(dt), at_least_float32(self.dt_spread)
            )
        dt = functional.softplus(dt.flatten(2) + self.dt_bias)  # (B, L, E)
        y, _ = selective_scan_chunked(at_least_float32(x), dt, -self.log_a.exp(), b, c)
        return (y + self.skip * x).to(x.dtype)


SCANS: dict[str, type[SSDScan] | type[SelectiveScan]] = {
    "mamba1": SelectiveScan,
    "mamba2": SSDScan,
}


def _initial_dt_bias(number: int) -> Float[Tensor, " number"]:
    """Draw biases whose softplus is log-uniform between `MIN_DT` and `MAX_DT`."""
    dt = torch.empty(number).uniform_(math.log(MIN_DT), math.log(MAX_DT)).exp()
    return dt + torch.log(-torch.expm1(-dt))
