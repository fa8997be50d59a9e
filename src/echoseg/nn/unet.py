"""The frame-by-frame parts of a residual U-Net, for networks that join frames in between.

A stem at stride 2, residual stages at strides 2, 4, 8 and 16, and back up with skips; the logits
are interpolated from stride 2 (shape: Ronneberger, Fischer and Brox, MICCAI 2015).
"""

from torch import Tensor, nn
from torch.nn import functional

from echoseg.nn.blocks import ResidualBlock, UpBlock, Width

Widths = tuple[Width, Width, Width, Width]
"""Channels at strides 2, 4, 8 and 16."""


class ResidualUNet(nn.Module):
    """Encoder and decoder without a forward.

    A network inherits from it, calls `add_encoder` and `add_decoder` when it is made, and puts
    what joins frames between `encode` and `decode`.
    """

    def add_encoder(self, widths: Widths) -> None:
        """Make the layers that `encode` calls."""
        w0, w1, w2, w3 = widths
        self.stem = nn.Sequential(
            nn.Conv2d(1, w0, 5, 2, 2, bias=False), nn.BatchNorm2d(w0), nn.ReLU(inplace=True)
        )
        self.encoder0 = ResidualBlock(w0, w0)
        self.encoder1 = nn.Sequential(ResidualBlock(w0, w1, stride=2), ResidualBlock(w1, w1))
        self.encoder2 = nn.Sequential(ResidualBlock(w1, w2, stride=2), ResidualBlock(w2, w2))
        self.encoder3 = nn.Sequential(ResidualBlock(w2, w3, stride=2), ResidualBlock(w3, w3))

    def add_decoder(self, widths: Widths, num_labels: int) -> None:
        """Make the layers that `decode` calls."""
        w0, w1, w2, w3 = widths
        self.decoder2 = UpBlock(w3, w2, w2)
        self.decoder1 = UpBlock(w2, w1, w1)
        self.decoder0 = UpBlock(w1, w0, w0)
        self.head = nn.Conv2d(w0, num_labels, 1)

    def encode(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`B 1 H W` -> the maps at strides 2, 4, 8 and 16."""
        skip0 = self.encoder0(self.stem(frames))
        skip1 = self.encoder1(skip0)
        middle = self.encoder2(skip1)
        return skip0, skip1, middle, self.encoder3(middle)

    def decode(self, skip0: Tensor, skip1: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        """Maps at strides 2, 4, 8 and 16 -> logits `B K H W`."""
        return self.predict_logits(
            self.decode_features(skip0, skip1, self.decoder2(coarse, middle))
        )

    def decode_features(self, skip0: Tensor, skip1: Tensor, x: Tensor) -> Tensor:
        """Maps at strides 2 and 4, and the decoder's at 8 -> its map at 2."""
        return self.decoder0(self.decoder1(x, skip1), skip0)

    def predict_logits(self, x: Tensor) -> Tensor:
        """The decoder's map at stride 2 -> logits `B K H W`."""
        return functional.interpolate(
            self.head(x), scale_factor=2, mode="bilinear", align_corners=False
        )
