"""A Segmenter that looks ahead: it takes whole clips of a fixed number of frames."""

from typing import NoReturn

from torch import Tensor

from echoseg.errors import ModelError
from echoseg.models.segmenter import Segmenter


class ClipSegmenter(Segmenter):
    """A network without a recurrence; a subclass sets `num_frames` and implements `_forward`."""

    streams = False

    def init_state(self, batch_size: int) -> NoReturn:
        """Refuse: the network looks ahead."""
        raise ModelError(
            f"{type(self).__name__} looks ahead and cannot take one frame at a time; give whole "
            f"clips of {self.num_frames} frames to its forward, or any longer clip to "
            "echoseg.models.windows.each_frame"
        )

    def _step(self, frame: Tensor, state: object) -> NoReturn:
        self.init_state(len(frame))
