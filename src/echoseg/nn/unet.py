"""Encoder and decoder of a residual U-Net, for networks that join frames in between.

A stem at stride 2, residual stages at strides 2, 4, 8 and 16, and a decoder with skip connections;
the logits are interpolated from stride 2 (architecture: Ronneberger, Fischer and Brox, MICCAI
2015).
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from echoseg.nn.blocks import ResidualBlock, UpBlock, Width

Widths = tuple[Width, Width, Width, Width]
"""Channels at strides 2, 4, 8 and 16."""


class ResidualUNet(nn.Module):
    """Encoder and decoder without a forward method.

    A subclass calls `add_encoder` and `add_decoder` in `__init__`, and joins frames between
    `encode` and `decode`.
    """

    def add_encoder(self, widths: Widths) -> None:
        """Create the layers of `encode`."""
        w0, w1, w2, w3 = widths
        self.stem = nn.Sequential(
            nn.Conv2d(1, w0, 5, 2, 2, bias=False), nn.BatchNorm2d(w0), nn.ReLU(inplace=True)
        )
        self.encoder0 = ResidualBlock(w0, w0)
        self.encoder1 = nn.Sequential(ResidualBlock(w0, w1, stride=2), ResidualBlock(w1, w1))
        self.encoder2 = nn.Sequential(ResidualBlock(w1, w2, stride=2), ResidualBlock(w2, w2))
        self.encoder3 = nn.Sequential(ResidualBlock(w2, w3, stride=2), ResidualBlock(w3, w3))

    def add_decoder(self, widths: Widths, num_labels: int) -> None:
        """Create the layers of `decode`."""
        w0, w1, w2, w3 = widths
        self.decoder2 = UpBlock(w3, w2, w2)
        self.decoder1 = UpBlock(w2, w1, w1)
        self.decoder0 = UpBlock(w1, w0, w0)
        self.head = nn.Conv2d(w0, num_labels, 1)

    def encode(
        self, frames: Float[Tensor, "B 1 H W"]
    ) -> tuple[
        Float[Tensor, "B C0 H//2 W//2"],
        Float[Tensor, "B C1 H//4 W//4"],
        Float[Tensor, "B C2 H//8 W//8"],
        Float[Tensor, "B C3 H//16 W//16"],
    ]:
        """Compute the maps at strides 2, 4, 8 and 16."""
        skip0 = self.encoder0(self.stem(frames))
        skip1 = self.encoder1(skip0)
        middle = self.encoder2(skip1)
        return skip0, skip1, middle, self.encoder3(middle)

    def decode(
        self,
        skip0: Float[Tensor, "B C0 h w"],
        skip1: Float[Tensor, "B C1 h//2 w//2"],
        middle: Float[Tensor, "B C2 h//4 w//4"],
        coarse: Float[Tensor, "B C3 h//8 w//8"],
    ) -> Float[Tensor, "B K 2*h 2*w"]:
        """Compute logits from the maps at strides 2, 4, 8 and 16."""
        return self.predict_logits(
            self.decode_features(skip0, skip1, self.decoder2(coarse, middle))
        )

    def decode_features(
        self,
        skip0: Float[Tensor, "B C0 h w"],
        skip1: Float[Tensor, "B C1 h//2 w//2"],
        x: Float[Tensor, "B C2 h//4 w//4"],
    ) -> Float[Tensor, "B C0 h w"]:
        """Decode x, the decoder's map at stride 8, to stride 2."""
        return self.decoder0(self.decoder1(x, skip1), skip0)

    def predict_logits(self, x: Float[Tensor, "B C0 h w"]) -> Float[Tensor, "B K 2*h 2*w"]:
        """Compute logits at full size from the decoder's map at stride 2."""
        return functional.interpolate(
            self.head(x), scale_factor=2, mode="bilinear", align_corners=False
        )
