"""The network as torch runs it: plainly, compiled, or in bfloat16."""

from typing import Any

import numpy as np
import torch

from echoseg.inference.backends.base import State, state_of


class TorchSession:
    """See the module.

    Args:
        network: A Segmenter.
        size_px: Side of a frame.
        bf16: Count in bfloat16 where torch's autocast does.
        compiled: Through `torch.compile`; the first frame then takes a minute.
    """

    def __init__(
        self, network: Any, size_px: int, *, bf16: bool = False, compiled: bool = False
    ) -> None:
        self.network, self.size_px, self.bf16 = network.eval(), size_px, bf16
        self.name = f"torch{' compiled' if compiled else ''} {'bf16' if bf16 else 'f32'}"
        self.device = next(network.parameters()).device
        self._shape = state_of(network, size_px)
        self._state_class: Any = type(network.init_state(1))
        self._step: Any = torch.compile(network.step) if compiled else network.step

    def first_state(self) -> State:
        """See `Stepper`."""
        return self._shape.first

    def step(self, frame: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """See `Stepper`."""
        parts = (torch.from_numpy(part).to(self.device) for part in state)
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16),
        ):
            shown = torch.from_numpy(frame).to(self.device)
            logits, after = self._step(shown, self._state_class(*parts))
        kept = tuple(
            part.to(torch.float32).cpu().numpy() if part.is_floating_point() else part.cpu().numpy()
            for part in after
        )
        return logits.float().cpu().numpy(), kept
