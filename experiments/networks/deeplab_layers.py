"""DeepLabV3 on a ResNet-50; layers are named as in torchvision, so its checkpoints load.

The ResNet's last two stages keep the stride at 8 and dilate their convolutions by 2 and 4 instead.
Atrous spatial pyramid pooling then applies convolutions of several dilations in parallel:

    y = W [conv1(x), conv3 by 12 (x), conv3 by 24 (x), conv3 by 36 (x), mean of x over the map]

Implemented from the papers, without torchvision.

Reference:
    He, Zhang, Ren and Sun, CVPR 2016, table 1; Chen, Papandreou, Schroff and Adam,
    arXiv 1706.05587, section 3.3 and figure 5.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

DEPTHS = (3, 4, 6, 3)
"""Number of bottlenecks in the ResNet-50's four stages."""
DILATIONS = (12, 24, 36)


class Bottleneck(nn.Module):
    """y = relu(f(x) + s(x)), f of 1x1, 3x3 and 1x1 convolutions, the last four times as wide.

    Args:
        in_channels: Channels of x.
        width: Channels of the two narrow convolutions.
        stride: Stride of the 3x3 convolution.
        dilation: Dilation of the 3x3 convolution.
        is_first: First bottleneck of a stage: its shortcut is a convolution too.
    """

    def __init__(
        self, in_channels: int, width: int, *, stride: int, dilation: int, is_first: bool
    ) -> None:
        super().__init__()
        wide = 4 * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, wide, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(wide)
        self.downsample = (
            nn.Sequential(nn.Conv2d(in_channels, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))
            if is_first
            else None
        )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B Cout h w"]:
        """Apply the bottleneck; Cout is four times the width."""
        y = functional.relu(self.bn1(self.conv1(x)))  # (B, width, H, W)
        y = functional.relu(self.bn2(self.conv2(y)))  # (B, width, h, w)
        shortcut = x if self.downsample is None else self.downsample(x)  # (B, 4 * width, h, w)
        return functional.relu(self.bn3(self.conv3(y)) + shortcut)


class DilatedResNet50(nn.Module):
    """Encoder from three-channel frames to a map at stride 8; the published `width` is 64."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, DEPTHS[0])
        self.layer2 = _stage(4 * width, 2 * width, DEPTHS[1], stride=2)
        self.layer3 = _stage(8 * width, 4 * width, DEPTHS[2], dilations=(1, 2))
        self.layer4 = _stage(16 * width, 8 * width, DEPTHS[3], dilations=(2, 4))

    def forward(self, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B Cout h w"]:
        """Encode frames; Cout is 32 times the width, h and w are H / 8 and W / 8."""
        x = functional.relu(self.bn1(self.conv1(x)))  # (B, width, H/2, W/2)
        x = functional.max_pool2d(x, 3, 2, 1)  # (B, width, H/4, W/4)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def _stage(
    in_channels: int,
    width: int,
    depth: int,
    *,
    stride: int = 1,
    dilations: tuple[int, int] = (1, 1),
) -> nn.Sequential:
    """Build the bottlenecks of a stage; the first has the stride and the first dilation."""
    first = Bottleneck(in_channels, width, stride=stride, dilation=dilations[0], is_first=True)
    others = (
        Bottleneck(4 * width, width, stride=1, dilation=dilations[1], is_first=False)
        for _ in range(depth - 1)
    )
    return nn.Sequential(first, *others)


def _conv_norm_relu(in_channels: int, out_channels: int, size: int, dilation: int) -> nn.Sequential:
    padding = dilation * (size // 2)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, size, 1, padding, dilation, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


class _MapMean(nn.Sequential):
    """Global average pooling and a convolution, broadcast back to the map."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), *_conv_norm_relu(in_channels, out_channels, 1, 1))

    def forward(self, input: Float[Tensor, "B C H W"]) -> Float[Tensor, "B Cout H W"]:
        """Pool, convolve and broadcast to the size of the input."""
        return super().forward(input).expand(-1, -1, *input.shape[-2:])


class PyramidPooling(nn.Module):
    """Atrous spatial pyramid pooling; each branch has batch norm and a ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [
                _conv_norm_relu(in_channels, out_channels, 1, 1),
                *(_conv_norm_relu(in_channels, out_channels, 3, step) for step in DILATIONS),
                _MapMean(in_channels, out_channels),
            ]
        )
        self.project = nn.Sequential(
            *_conv_norm_relu(5 * out_channels, out_channels, 1, 1), nn.Dropout(0.5)
        )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B Cout H W"]:
        """Concatenate the five branches and project them."""
        return self.project(torch.cat([conv(x) for conv in self.convs], 1))


def deeplab_head(in_channels: int, width: int, num_labels: int) -> nn.Sequential:
    """Build pyramid pooling (layer 0), a 3x3 convolution (1 to 3) and the classifier (4)."""
    return nn.Sequential(
        PyramidPooling(in_channels, width),
        *_conv_norm_relu(width, width, 3, 1),
        nn.Conv2d(width, num_labels, 1),
    )
