"""Attention in triples of frames and between mean tokens of neighbours, as in released MSSNet.

A triple is three frames of N tokens each, one sequence of 3N. With L_i the logits (query times key
over the root of the head's width) of the triple's i-th frame over all 3N keys, the release adds the
logits of earlier frames to those of later ones:

    M_1 = L_1        M_2 = L_2 + alpha M_1        M_3 = L_3 + alpha M_2        P_i = softmax(M_i)

A token inherits from the token at the *same position* in the previous frame. Since all rows share
the keys, and logits are linear in the query, this is ordinary attention with queries accumulated
over the frames:

    q'_1 = q_1       q'_2 = q_2 + alpha q'_1      q'_3 = q_3 + alpha q'_2      M_i = q'_i . k

`guided_attention` computes the logits as the release does; `guided_attention_fused` accumulates the
queries and needs no 3N x 3N matrix.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


def guided_attention(
    query: Float[Tensor, "B heads N3 D"],
    key: Float[Tensor, "B heads N3 D"],
    value: Float[Tensor, "B heads N3 D"],
    alpha: float,
) -> Float[Tensor, "B heads N3 D"]:
    """Attend with logits carried along the triple."""
    logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)  # (B, heads, 3N, 3N)
    num_tokens = query.shape[2] // 3
    first, second, third = (logits.narrow(2, i * num_tokens, num_tokens) for i in range(3))
    # in place: for 10 frames of 256 px the logits are 2.4 GB
    second.add_(first, alpha=alpha)
    third.add_(second, alpha=alpha)
    return torch.cat([torch.softmax(rows, -1) @ value for rows in (first, second, third)], 2)


def guided_attention_fused(
    query: Float[Tensor, "B heads N3 D"],
    key: Float[Tensor, "B heads N3 D"],
    value: Float[Tensor, "B heads N3 D"],
    alpha: float,
) -> Float[Tensor, "B heads N3 D"]:
    """Compute `guided_attention` in memory linear in N instead of quadratic."""
    first, second, third = query.chunk(3, 2)  # (B, heads, N, D)
    second = second + alpha * first
    third = third + alpha * second
    accumulated = torch.cat([first, second, third], 2)  # (B, heads, 3N, D)
    return functional.scaled_dot_product_attention(accumulated, key, value)


class ResidualMLP(nn.Module):
    """y = x + W_2 gelu(W_1 norm(x)), with 2C hidden channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        """Apply the block."""
        return x + self.narrow(functional.gelu(self.widen(self.norm(x))))


class TripleAttention(nn.Module):
    """A transformer layer over the tokens of three frames, without an output projection.

    Args:
        width: Channels of a token.
        num_heads: Number of attention heads.
        alpha: Factor of a frame's logits in those of the next frame.
        fused: Use `guided_attention_fused`.
    """

    def __init__(self, width: int, num_heads: int, alpha: float, *, fused: bool) -> None:
        super().__init__()
        self.num_heads, self.alpha = num_heads, alpha
        self.attend = guided_attention_fused if fused else guided_attention
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.mix = ResidualMLP(width)

    def forward(self, triples: Float[Tensor, "B N3 C"]) -> Float[Tensor, "B N3 C"]:
        """Apply the layer."""
        projected = self.query_key_value(self.norm(triples)).unflatten(2, (3, self.num_heads, -1))
        query, key, value = projected.permute(2, 0, 3, 1, 4).unbind(0)  # (B, heads, 3N, D)
        attended = self.attend(query, key, value, self.alpha)
        return self.mix(triples + attended.transpose(1, 2).flatten(2))


class NeighbourAttention(nn.Module):
    """Single-head attention of each vector to its two neighbours in time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.mix = ResidualMLP(width)

    def forward(self, vectors: Float[Tensor, "T C"]) -> Float[Tensor, "T-2 C"]:
        """Map one vector per frame to one for all frames but the first and the last."""
        middle = vectors[1:-1]
        neighbours = torch.stack([vectors[:-2], vectors[2:]], 1)  # (T - 2, 2, C)
        key, value = self.key_value(neighbours).chunk(2, -1)
        logits = (self.query(middle)[:, None] @ key.transpose(1, 2)) * middle.shape[-1] ** -0.5
        return self.mix(middle + (torch.softmax(logits, -1) @ value)[:, 0])


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each pixel."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Normalise each pixel."""
        last = x.movedim(1, -1)
        normed = functional.layer_norm(last, last.shape[-1:], self.weight, self.bias, eps=1e-6)
        return normed.movedim(-1, 1)
