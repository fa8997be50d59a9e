"""Attention inside triples of frames, and between the means of neighbours, as MSSNet released it.

A triple is three frames of N tokens each, one sequence of 3N. With L_i the logits (query times key
over the root of the head's width) of the triple's i-th frame over all 3N keys, the release adds to
the later frames' what the earlier ones looked at:

    M_1 = L_1        M_2 = L_2 + alpha M_1        M_3 = L_3 + alpha M_2        P_i = softmax(M_i)

The token at a place inherits from the token at the *same place* of the frame before. Since the
keys are the same for all rows, and logits are linear in the query, this is ordinary attention with
queries summed over the frames:

    q'_1 = q_1       q'_2 = q_2 + alpha q'_1      q'_3 = q_3 + alpha q'_2      M_i = q'_i . k

`guided_attention` writes the logits down as the release does; `guided_attention_fused` sums the
queries, and needs no 3N x 3N matrix.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


def guided_attention(query: Tensor, key: Tensor, value: Tensor, alpha: float) -> Tensor:
    """Attend with logits carried along the triple: `B heads 3N D` each -> `B heads 3N D`."""
    logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    num_tokens = query.shape[2] // 3
    first, second, third = (logits.narrow(2, i * num_tokens, num_tokens) for i in range(3))
    # in place: for 10 frames of 256 px the logits are 2.4 GB
    second.add_(first, alpha=alpha)
    third.add_(second, alpha=alpha)
    return torch.cat([torch.softmax(rows, -1) @ value for rows in (first, second, third)], 2)


def guided_attention_fused(query: Tensor, key: Tensor, value: Tensor, alpha: float) -> Tensor:
    """Return the same as `guided_attention`, in memory that grows with N, not its square."""
    first, second, third = query.chunk(3, 2)
    second = second + alpha * first
    third = third + alpha * second
    summed = torch.cat([first, second, third], 2)
    return functional.scaled_dot_product_attention(summed, key, value)


class ResidualMLP(nn.Module):
    """y = x + W_2 gelu(W_1 norm(x)), twice as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """`... C` -> `... C`."""
        return x + self.narrow(functional.gelu(self.widen(self.norm(x))))


class TripleAttention(nn.Module):
    """A transformer layer over the tokens of three frames; the heads' answers are not mixed.

    Args:
        width: Channels of a token.
        num_heads: Attention heads.
        alpha: Share of a frame's logits that the next frame's get.
        fused: Use `guided_attention_fused`.
    """

    def __init__(self, width: int, num_heads: int, alpha: float, *, fused: bool) -> None:
        super().__init__()
        self.num_heads, self.alpha = num_heads, alpha
        self.attend = guided_attention_fused if fused else guided_attention
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.mix = ResidualMLP(width)

    def forward(self, triples: Tensor) -> Tensor:
        """`B 3N C` -> `B 3N C`."""
        projected = self.query_key_value(self.norm(triples)).unflatten(2, (3, self.num_heads, -1))
        query, key, value = projected.permute(2, 0, 3, 1, 4).unbind(0)  # B heads 3N D
        found = self.attend(query, key, value, self.alpha)
        return self.mix(triples + found.transpose(1, 2).flatten(2))


class NeighbourAttention(nn.Module):
    """The middle of three vectors asks the two beside it; one head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.mix = ResidualMLP(width)

    def forward(self, vectors: Tensor) -> Tensor:
        """One vector a frame, `T C` -> `T-2 C`: all but the first and the last."""
        middle = vectors[1:-1]
        key, value = self.key_value(torch.stack([vectors[:-2], vectors[2:]], 1)).chunk(2, -1)
        logits = (self.query(middle)[:, None] @ key.transpose(1, 2)) * middle.shape[-1] ** -0.5
        return self.mix(middle + (torch.softmax(logits, -1) @ value)[:, 0])


class ChannelNorm(nn.Module):
    """Layer norm over the channels of a map, each pixel by itself."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))

    def forward(self, x: Tensor) -> Tensor:
        """`B C H W` -> `B C H W`."""
        last = x.movedim(1, -1)
        normed = functional.layer_norm(last, last.shape[-1:], self.weight, self.bias, eps=1e-6)
        return normed.movedim(-1, 1)
