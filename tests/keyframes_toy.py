"""A made-up clip whose best schedule is known: a scene that stands still, jumps and flickers.

A full frame shows the scene as it is; a cheap one shows the last key frame's. A jump changes the
scene for 3 frames, and a key frame among them gains 1, once. A flicker is over with its frame and
gains 0.1. Flickers are three times as frequent and change the picture a little more, but in its
lower half, jumps in the upper: a network can tell them apart, a threshold on the difference cannot.
"""

import torch

GRID, NUM_FRAMES, JUMP_FRAMES = 4, 40, 3


class Jumps:
    """An episode of the toy."""

    def __init__(self, seed):
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.rand(NUM_FRAMES, generator=generator)
        self.jumps = (drawn < 0.1).tolist()
        self.flickers = ((drawn >= 0.1) & (drawn < 0.4)).tolist()
        self.noise = 0.1 * torch.rand(NUM_FRAMES, 1, GRID, GRID, generator=generator)
        self.index, self.left = 1, 0
        self._see()

    def _see(self):
        if self.index < NUM_FRAMES and self.jumps[self.index]:
            self.left = JUMP_FRAMES

    def maps(self):
        if self.index == NUM_FRAMES:
            return None
        picture = self.noise[self.index].clone()
        picture[0, : GRID // 2] += float(self.left > 0)
        picture[0, GRID // 2 :] += 1.1 * self.flickers[self.index]
        return picture

    def gain(self):
        return float(self.left > 0) + 0.1 * self.flickers[self.index]

    def take(self, is_key):
        self.left = 0 if is_key else max(0, self.left - 1)
        self.index += 1
        self._see()


def clips(first, number=16):
    return [Jumps(seed) for seed in range(first, first + number)]


def best(observation):
    """A key frame on the first frame of each jump."""
    return observation.maps[:, 0, : GRID // 2].mean((1, 2)) > 0.5
