"""MSSNetV1 with a cheap path for the frames between key frames.

A cheap frame recomputes only the encoder at strides 2 and 4 and the end of the decoder; the
decoder's map at stride 8 is that of the last key frame. Train with such frames
(`experiments.keyframes.forward_by`), otherwise the borders lag behind.
"""

from typing import NamedTuple

from torch import Tensor, nn

from echoseg.errors import ModelError
from echoseg.models.checkpoint import load_model
from echoseg.models.mssnet_v1 import MSSNetV1, MSSNetV1State


class KeyFrameState(NamedTuple):
    """State of a `KeyFrameMSSNet`."""

    recurrent: MSSNetV1State
    """State of the network; cheap frames do not change it."""
    decoded: Tensor | None
    """The decoder's map of the last key frame, `B C H/8 W/8`; None before the first."""


class KeyFrameMSSNet(nn.Module):
    """An MSSNetV1 and its cheap path.

    Args:
        network: The MSSNetV1; trained weights work as they are.
    """

    def __init__(self, network: MSSNetV1 | None = None) -> None:
        super().__init__()
        self.network = network or MSSNetV1()

    @classmethod
    def from_checkpoint(cls, name_or_path: str) -> "KeyFrameMSSNet":
        """The network of a checkpoint, in evaluation mode.

        Raises:
            ModelError: If the checkpoint cannot be read or holds another network than MSSNetV1.
        """
        network, card = load_model(name_or_path)
        if not isinstance(network, MSSNetV1):
            raise ModelError(
                f"model {card.path} must be an MSSNetV1, it is a {type(network).__name__}; "
                "the cheap path exists only for MSSNetV1"
            )
        return cls(network).eval()

    def init_state(self, batch_size: int) -> KeyFrameState:
        """The state before the first frame."""
        return KeyFrameState(self.network.init_state(batch_size), None)

    def step(self, frame: Tensor, state: KeyFrameState) -> tuple[Tensor, KeyFrameState]:
        """Run the whole network on a key frame: `B 1 H W` -> logits `B K H W`."""
        net = self.network
        padded = net.prepare_frame(frame, state.recurrent)
        skip0, skip1, middle, coarse = net.encode(padded)
        middle, coarse, recurrent = net._join(middle, coarse, state.recurrent)
        decoded = net.decoder2(coarse, middle)  # (B, C, H/8, W/8)
        logits = net._predict(padded, skip0, skip1, decoded)
        return net.crop(logits, frame), KeyFrameState(recurrent, decoded)

    def cheap_step(self, frame: Tensor, state: KeyFrameState) -> tuple[Tensor, KeyFrameState]:
        """Run the cheap path, about a third of the work: `B 1 H W` -> logits `B K H W`, same state.

        Raises:
            ModelError: If no key frame of this size came before.
        """
        net = self.network
        padded = net.prepare_frame(frame, state.recurrent)
        if state.decoded is None:
            raise ModelError(
                "a cheap frame needs a key frame before it, the state has none; run the first "
                "frame of a clip through step"
            )
        skip0 = net.encoder0(net.stem(padded))
        logits = net._predict(padded, skip0, net.encoder1(skip0), state.decoded)
        return net.crop(logits, frame), state

    def forward(self, frames: Tensor) -> Tensor:
        """Segment a clip with every frame a key frame: `B T 1 H W` -> logits `B T K H W`."""
        return self.network(frames)
