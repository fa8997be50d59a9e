"""What key frames gain on a clip, as a table, so that a thousand plays cost what one did.

    full_i      Dice of frame i in full
    cheap_j,l   Dice of frame j + l taken cheaply, the last full frame being j

Both from the states of a run with every frame in full. In a real play the state at j has seen fewer
full frames; the table is to learn and to search thresholds with, not to report from.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from experiments.keyframes.episode import check_played, mean_dice


class GainTable(NamedTuple):
    """A clip's numbers."""

    maps: Tensor
    """What is observed of frame j + l when j was the last full one, `T max_gap C G G`."""
    full: Tensor
    """`T`."""
    cheap: Tensor
    """`T max_gap`; of l = 1 first."""


@torch.inference_mode()
def gain_table(model: Any, frames: Tensor, masks: Tensor, max_gap: int = 15) -> GainTable:
    """Run a clip once in full and `max_gap` times cheaply.

    Args:
        model: A Segmenter with a cheap path, in evaluation mode.
        frames: `T 1 1 H W`.
        masks: `T H W`.
        max_gap: Largest distinguished number of frames since a key frame.

    Raises:
        ModelError: If the model has no cheap path.
        ArgumentError: If frames and masks are not one clip's.
    """
    check_played(model, frames, masks)
    num_frames = len(frames)
    full, cheap = torch.zeros(num_frames), torch.zeros(num_frames, max_gap)
    state, maps = model.init_state(1), dict[tuple[int, int], Tensor]()
    for index, frame in enumerate(frames):
        logits, state = model.step(frame, state)
        full[index] = mean_dice(logits, masks[index])
        after = state
        for place, later in enumerate(range(index + 1, min(index + max_gap + 1, num_frames))):
            maps[index, place] = model.observe(frames[later], after)
            logits, after = model.cheap_step(frames[later], after)
            cheap[index, place] = mean_dice(logits, masks[later])
    shape = maps[0, 0].shape if maps else (1, 1, 1)
    observed = torch.zeros(num_frames, max_gap, *shape)
    for (index, place), each in maps.items():
        observed[index, place] = each
    return GainTable(observed, full, cheap)


def best_keys(table: GainTable, num_keys: int) -> tuple[float, list[int]]:
    """Return the best mean Dice of a clip with a number of key frames, and those frames.

    Found by dynamic programming over the last key frame, so no schedule does better by this table:
    it bounds what there is to learn. Needs `max_gap` of at least the clip's length less 1.
    """
    full, cheap = table.full.double(), table.cheap.double()
    num_frames = len(full)
    # run[j][e]: Dice of frame j in full and of all after it, up to e, cheaply
    sums = cheap.cumsum(1)
    run = [
        [float(full[j] + (sums[j, e - j - 1] if e > j else 0)) for e in range(num_frames)]
        for j in range(num_frames)
    ]
    best = [(run[0][e], [0]) for e in range(num_frames)]  # all frames up to e, one key
    for _ in range(1, num_keys):
        best = [
            max(
                [best[e]]
                + [(best[j - 1][0] + run[j][e], [*best[j - 1][1], j]) for j in range(1, e + 1)]
            )
            for e in range(num_frames)
        ]
    dice, keys = best[-1]
    return dice / num_frames, keys


class TableEpisode:
    """A clip played by its table; an `Episode`."""

    def __init__(self, table: GainTable) -> None:
        self.table, self.index, self.key_index = table, 1, 0

    def maps(self) -> Tensor | None:
        """Return `C G G` of the frame that comes; after too long a wait, as of a nearer key."""
        if self.index == len(self.table.full):
            return None
        waited = min(self.index - self.key_index, self.table.cheap.shape[1])
        return self.table.maps[self.index - waited, waited - 1]

    def gain(self) -> float:
        """Return what a full frame would gain; after too long a wait, over a nearer full frame."""
        waited = min(self.index - self.key_index, self.table.cheap.shape[1])
        cheap = self.table.cheap[self.index - waited, waited - 1]
        return float(self.table.full[self.index] - cheap)

    def take(self, is_key: bool) -> None:
        """Go on to the next frame."""
        self.key_index = self.index if is_key else self.key_index
        self.index += 1
