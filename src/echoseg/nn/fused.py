"""A network for inference on a CPU: fewer and larger operations, the same results.

- Batch norm is folded into the convolution before it: with y = g (conv(x) - m) / s + b, its weights
  are multiplied by g / s, and its bias is b - g m / s.
- ReLU, GELU and the addition of a shortcut are part of the convolution or matrix product before
  them, whose weights are stored in the order in which oneDNN reads them. torch itself computes
  small convolutions and all matrix products without oneDNN.

These are operations that `torch.compile` makes of a network, without compiling. They are not a
public API of torch: where they are missing, `fuse` returns the network as it is.

Reference:
    Jacob et al., "Quantization and training of neural networks", CVPR 2018, section 3.2 (folding).
"""

import copy
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from echoseg.nn.blocks import ResidualBlock, UpBlock

MIN_LINEAR = 16384
"""Minimum number of weights of a linear layer that is fused; smaller ones gain nothing."""
OWN = ("echoseg.", "torch.nn.modules.")
"""Packages whose layers are known."""
OPERATIONS = ("_convolution_pointwise", "_linear_pointwise", "_reorder_linear_weight")


def fuse(network: nn.Module, *, bf16: bool = False) -> nn.Module:
    """A copy of a network for inference, with its interface and its results.

    The network itself is returned where nothing can be fused: in training mode, in another dtype
    than float32, on another device than a CPU, without oneDNN, or with a layer of another package
    than torch and echoseg, which may use its parts in ways that are not known here.

    Args:
        network: The network.
        bf16: Whether the layers named `encoder...` compute in bfloat16, for a processor that
            `has_bf16`; the copy then needs torch's autocast. The decoder stays in float32: logits
            in bfloat16 have steps of up to 1/8.
    """
    first = next(network.parameters(), None)
    is_usable = first is not None and first.dtype == torch.float32 and first.device.type == "cpu"
    is_known = all(type(part).__module__.startswith(OWN) for part in network.modules())
    if not (is_usable and is_known and has_onednn()) or network.training:
        return network
    fused = copy.deepcopy(network)
    _replace_children(fused)
    for name, part in fused.named_modules() if bf16 else ():
        if name.startswith("encoder") and isinstance(part, FusedConv | FusedLinear):
            part.to(torch.bfloat16)
    return fused


def has_onednn() -> bool:
    """Whether torch has the operations of oneDNN that are used here."""
    has_all = all(hasattr(torch.ops.mkldnn, name) for name in OPERATIONS)
    return torch.backends.mkldnn.is_available() and has_all


def has_bf16() -> bool:
    """Whether oneDNN computes in bfloat16 on this processor: AVX-512 or newer."""
    return has_onednn() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


class FusedConv(nn.Module):
    """A convolution, the batch norm after it, and ReLU.

    Args:
        conv: The convolution, padded with zeros.
        norm: The batch norm after it.
        relu: Whether ReLU follows, after the addition if there is one.
    """

    def __init__(
        self, conv: nn.Conv2d, norm: nn.BatchNorm2d | None = None, *, relu: bool = False
    ) -> None:
        super().__init__()
        self.weight, self.bias = _frozen(*_fold(conv, norm))
        self.places: Any = (conv.padding, conv.stride, conv.dilation, conv.groups)
        self.relu = relu
        self._packed: dict[torch.Size, Tensor] = {}

    def forward(
        self, x: Float[Tensor, "B C H W"], add: Float[Tensor, "B Cout h w"] | None = None
    ) -> Float[Tensor, "B Cout h w"]:
        """Convolve, and add `add`."""
        x = _ready(x, self.weight)
        convolve, common = torch.ops.mkldnn._convolution_pointwise, (self.bias, *self.places)
        if add is None:
            kind = "relu" if self.relu else "none"
            return convolve(x, self._pack(x), *common, kind, [], "")
        kind = "relu" if self.relu else None
        add = _ready(add, self.weight)
        return convolve.binary(x, add, self._pack(x), *common, "add", 1.0, kind, [], None)

    def _pack(self, x: Tensor) -> Tensor:
        """The weights in oneDNN's order for inputs of that size; the last one is kept."""
        if x.shape not in self._packed:
            reorder = torch.ops.mkldnn._reorder_convolution_weight
            self._packed = {x.shape: reorder(self.weight, *self.places, x.shape)}
        return self._packed[x.shape]


class FusedLinear(nn.Module):
    """A linear layer, and GELU.

    Args:
        linear: The layer.
        gelu: Whether GELU follows.
    """

    def __init__(self, linear: nn.Linear, *, gelu: bool = False) -> None:
        super().__init__()
        bias = linear.weight.new_zeros(len(linear.weight)) if linear.bias is None else linear.bias
        self.weight, self.bias = _frozen(linear.weight, bias)
        self.kind = ("gelu", [], "none") if gelu else ("none", [], "")
        self._packed: Tensor | None = None

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B Cout"]:
        """Multiply and add."""
        if self._packed is None:
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight)
        x = x.to(self.weight.dtype).contiguous()
        return torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, *self.kind)


class FusedResidualBlock(nn.Module):
    """`ResidualBlock` in two or three operations."""

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        first, norm1, _, second, norm2 = block.body
        self.first = FusedConv(cast(nn.Conv2d, first), cast(nn.BatchNorm2d, norm1), relu=True)
        self.second = FusedConv(cast(nn.Conv2d, second), cast(nn.BatchNorm2d, norm2), relu=True)
        self.shortcut = _fused(block.shortcut)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B Cout h w"]:
        """Apply the block."""
        return self.second(self.first(x), self.shortcut(x))


class FusedUpBlock(nn.Module):
    """`UpBlock` with the addition in the skip's convolution."""

    def __init__(self, block: UpBlock) -> None:
        super().__init__()
        self.reduce, self.skip = FusedConv(block.reduce), FusedConv(block.skip)
        self.mix = FusedResidualBlock(block.mix)

    def forward(
        self, x: Float[Tensor, "B C h w"], skip: Float[Tensor, "B S H W"]
    ) -> Float[Tensor, "B Cout H W"]:
        """Upsample x to the size of the skip connection and join them."""
        x = functional.interpolate(
            self.reduce(x), size=skip.shape[-2:], mode="bilinear", align_corners=False
        )
        return self.mix(self.skip(skip, x))


def _replace_children(module: nn.Module) -> None:
    for name, child in module.named_children():
        fused = _fused(child)
        if fused is child:
            _replace_children(child)
        else:
            setattr(module, name, fused)


def _fused(module: nn.Module) -> nn.Module:
    """A module that is fused; itself where it is of another kind."""
    if isinstance(module, ResidualBlock):
        return FusedResidualBlock(module)
    if isinstance(module, UpBlock):
        return FusedUpBlock(module)
    if isinstance(module, nn.Sequential):
        return _fused_sequence(list(module))
    if isinstance(module, nn.Conv2d) and _has_zeros_around(module):
        return FusedConv(module)
    if isinstance(module, nn.Linear) and module.weight.numel() >= MIN_LINEAR:
        return FusedLinear(module)
    return module


def _fused_sequence(modules: list[nn.Module]) -> nn.Module:
    """Modules one after another, each fused with those behind it that it can take in."""
    outputs: list[nn.Module] = []
    while modules:
        first = modules.pop(0)
        if isinstance(first, nn.Conv2d) and _has_zeros_around(first):
            norm = modules.pop(0) if _is_foldable(modules) else None
            relu = bool(_is_next(modules, nn.ReLU) and modules.pop(0))
            outputs.append(FusedConv(first, cast("nn.BatchNorm2d | None", norm), relu=relu))
        elif isinstance(first, nn.Linear) and _is_next(modules, nn.GELU):
            outputs.append(FusedLinear(first, gelu=bool(modules.pop(0))))
        else:
            outputs.append(_fused(first))
            _replace_children(outputs[-1])
    return outputs[0] if len(outputs) == 1 else nn.Sequential(*outputs)


def _has_zeros_around(conv: nn.Conv2d) -> bool:
    return conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


def _is_next(modules: list[nn.Module], kind: type[nn.Module]) -> bool:
    return bool(modules) and isinstance(modules[0], kind)


def _is_foldable(modules: list[nn.Module]) -> bool:
    """Whether a batch norm is next that has factors and statistics."""
    norm = modules[0] if modules else None
    return isinstance(norm, nn.BatchNorm2d) and norm.affine and norm.track_running_stats


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d | None) -> tuple[Tensor, Tensor]:
    """Weights and bias of a convolution and the batch norm after it, as one convolution."""
    weight, bias = conv.weight.double(), conv.bias
    bias = weight.new_zeros(len(weight)) if bias is None else bias.double()
    if norm is not None:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        weight = weight * scale[:, None, None, None]
        bias = norm.bias.double() + (bias - norm.running_mean.double()) * scale
    return weight.float().contiguous(memory_format=torch.channels_last), bias.float()


def _ready(x: Tensor, weight: Tensor) -> Tensor:
    """A map in the dtype and the memory format of a convolution."""
    return x.to(weight.dtype).contiguous(memory_format=torch.channels_last)


def _frozen(*tensors: Tensor) -> list[nn.Parameter]:
    return [nn.Parameter(each.detach().clone(), requires_grad=False) for each in tensors]
