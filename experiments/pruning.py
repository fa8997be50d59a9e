"""Structured pruning: a smaller MSSNet from the channels of a trained one that matter most.

The channels of a group (a stream of features, the inside of a block, the heads of a scan) are
shared by several weights. A channel's importance is how much the loss would change without it, to
first order, over batches of clips:

    s(c) = sum over batches and weights of (sum over the channel's slice of w dL/dw)^2

The most important channels of each group are kept, in their order, and of two state-space layers
the first. The result begins a training; without one its masks are of no use.

Reference:
    Molchanov, Mallya, Tyree, Frosio and Kautz, "Importance estimation for neural network pruning",
    CVPR 2019, equation 8, summed over groups.
"""

import copy
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from echoseg.errors import ConfigError
from echoseg.losses import cross_entropy_dice_loss
from echoseg.models.mssnet import SIZES, MSSNet
from echoseg.nn.scan2d import NUM_DIRECTIONS
from echoseg.nn.scans import ScanConfig
from echoseg.train.data.training_set import TrainingSet

NUM_BATCHES, BATCH_CLIPS, NUM_FRAMES = 16, 8, 2
HEAD = ScanConfig.model_fields["head_channels"].default
"""Channels of a head of a scan, which are kept or dropped together."""
NO_CHANNEL = -1
"""Channel of a place that is always kept."""


class Axis(NamedTuple):
    """A dimension of a weight: the channel of a group that each of its places belongs to."""

    group: str
    channels: Tensor


def prune(network: Any, student: Any, training_set: TrainingSet) -> None:
    """Give a smaller network the most important channels of a trained one.

    Args:
        network: The trained network; unchanged.
        student: Of the same config but for the size; changed in place.
        training_set: Clips that tell the importance.

    Raises:
        ConfigError: If one is not an MSSNet, they differ in more than the size, or a width is
            larger.
    """
    if not (isinstance(network, MSSNet) and isinstance(student, MSSNet)):
        raise ConfigError(
            f"pruned must be false for {type(network).__name__} and {type(student).__name__}; only "
            "MSSNet is pruned"
        )
    size = student.config.size
    if student.config != network.config.model_copy(update={"size": size}):
        raise ConfigError(
            f"architecture must be that of the trained network but for its size "
            f"({network.config}), got {student.config}; or set pruned to false"
        )
    axes, state = _axes(network), network.state_dict()
    wanted = {
        axis.group: _num(axis.channels)
        for row in _axes(student).values()
        for axis in row
        if axis.group
    }
    scores = _importances(network, axes, training_set)
    chosen = {}
    for group, num in wanted.items():
        if num > len(scores.get(group, ())):
            raise ConfigError(f"size must be smaller than {network.config.size!r}, got {size!r}")
        chosen[group] = scores[group].topk(num).indices.sort().values
    student.load_state_dict(
        {name: _cut(state[name], axes[name], chosen) for name in _axes(student)}
    )


def _importances(
    network: MSSNet, axes: dict[str, tuple[Axis, ...]], training_set: TrainingSet
) -> dict[str, Tensor]:
    """Importance of each channel, by group."""
    network = copy.deepcopy(network).requires_grad_(True)  # in evaluation mode, as it is used
    scores: dict[str, Tensor] = {}
    for frames, masks, known_labels in _batches(training_set):
        network.zero_grad()
        logits = network(frames).flatten(0, 1)
        cross_entropy_dice_loss(logits, masks, known_labels).backward()
        for name, weight in network.named_parameters():
            change = weight.detach() * (0 if weight.grad is None else weight.grad)
            for dim, (group, channels) in enumerate(axes[name]):
                if not group:
                    continue
                total = change.movedim(dim, 0).reshape(len(channels), -1).sum(1)
                sums = total.new_zeros(_num(channels))
                sums.index_add_(0, channels[channels != NO_CHANNEL], total[channels != NO_CHANNEL])
                scores[group] = scores.get(group, 0) + sums.square()
    return scores


def _batches(training_set: TrainingSet) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Frames `B T 1 S S`, masks `B*T S S` and their known labels `B*T K` of clips of the set."""
    generator = torch.Generator().manual_seed(0)
    labeled = training_set.is_labeled.nonzero()[:, 0]
    indices = list(training_set.sampled(labeled, num=NUM_BATCHES * BATCH_CLIPS))
    for start in range(0, len(indices), BATCH_CLIPS):
        draws = [
            training_set.draw(index, NUM_FRAMES, generator)
            for index in indices[start : start + BATCH_CLIPS]
        ]
        frames, masks, known_labels = (
            torch.stack([getattr(draw, name) for draw in draws])
            for name in ("frames", "masks", "known_labels")
        )
        known_labels = known_labels.repeat_interleave(NUM_FRAMES, 0)
        yield frames.unsqueeze(2).float() / 255, masks.flatten(0, 1), known_labels


def _num(channels: Tensor) -> int:
    return int(channels.max()) + 1


def _cut(weight: Tensor, axes: Iterable[Axis], chosen: dict[str, Tensor]) -> Tensor:
    """The places of a weight whose channels are kept."""
    for dim, (group, channels) in enumerate(axes):
        if group:
            stays = torch.isin(channels, chosen[group]) | (channels == NO_CHANNEL)
            weight = weight.index_select(dim, stays.nonzero()[:, 0])
    return weight.clone()


def _axes(network: MSSNet) -> dict[str, tuple[Axis, ...]]:
    """The axes of every weight and buffer; later dimensions belong to no group."""
    return {
        name: _axes_of(name, tuple(value.shape), SIZES[network.config.size][3] // HEAD)
        for name, value in network.state_dict().items()
    }


def _axes_of(name: str, shape: tuple[int, ...], num_heads: int) -> tuple[Axis, ...]:
    """Axes of one weight: what it gives, then what it takes."""
    axes = []
    for group, size in zip(_groups(name), shape, strict=False):
        channels = torch.arange(size) if group else torch.full((size,), NO_CHANNEL)
        if group.endswith("heads"):
            channels = _heads(name, size, num_heads)
        axes.append(Axis(group, channels))
    return tuple(axes)


def _heads(name: str, size: int, num_heads: int) -> Tensor:
    """The head of each place of a weight of the scan (`nn.scan2d.ScanSSD2d`)."""
    inner = torch.arange(num_heads).repeat_interleave(HEAD)
    steps = torch.arange(num_heads).repeat(NUM_DIRECTIONS)
    projections = size - len(inner)  # b and c of all directions, which no head owns
    if ".scan." in name:
        return steps
    if name.endswith("project.weight"):  # z, x, b and c, dt
        projections -= len(inner) + len(steps)
        return torch.cat([inner, inner, torch.full((projections,), NO_CHANNEL), steps])
    return torch.cat([inner, torch.full((projections,), NO_CHANNEL)])


def _groups(name: str) -> tuple[str, str]:
    """Groups of the channels that a weight gives and takes; empty where all are kept."""
    for pattern, gives, takes in RULES:
        if match := re.match(pattern, name):
            return match.expand(gives), match.expand(takes)
    return "", ""


_INSIDE, _OUT = r"\.body\.[01]\.", r"\.body\.[34]\."
RULES = (
    (r"stem", "stream0", ""),
    (r"(encoder0)" + _INSIDE, r"\1", "stream0"),
    (r"(encoder0)" + _OUT, "stream0", r"\1"),
    *(
        rule
        for level in (1, 2, 3)
        for rule in (
            (rf"(encoder{level}\.0){_INSIDE}", r"\1", f"stream{level - 1}"),
            (rf"(encoder{level}\.0){_OUT}", f"stream{level}", r"\1"),
            (rf"encoder{level}\.0\.shortcut", f"stream{level}", f"stream{level - 1}"),
        )
    ),
    (r"(encoder([12])\.1)" + _INSIDE, r"\1", r"stream\2"),
    (r"(encoder([12])\.1)" + _OUT, r"stream\2", r"\1"),
    (r"encoder3\.\d\.norm", "stream3", ""),
    (r"(encoder3\.\d)\.mixer\.out", "stream3", r"\1.heads"),
    (r"(encoder3\.\d)\.mixer\.project", r"\1.heads", "stream3"),
    (r"(encoder3\.\d)\.mixer", r"\1.heads", ""),
    (r"encoder3\.\d\.feed_forward\.0", "stream3", ""),
    (r"(encoder3\.\d\.feed_forward)\.1", r"\1", "stream3"),
    (r"(encoder3\.\d\.feed_forward)\.3", "stream3", r"\1"),
    (r"decoder2\.reduce", "decoded2", "stream3"),
    (r"decoder1\.reduce", "decoded1", "decoded2"),
    (r"decoder0\.reduce", "decoded0", "decoded1"),
    (r"decoder(\d)\.skip", r"decoded\1", r"stream\1"),
    (r"(decoder(\d)\.mix)" + _INSIDE, r"\1", r"decoded\2"),
    (r"(decoder(\d)\.mix)" + _OUT, r"decoded\2", r"\1"),
    (r"guidance\.(norm|out)", "decoded2", ""),
    (r"guidance\.\w+\.weight", "", "decoded2"),
    (r"fine_memory\.\w+\.weight", "", "decoded1"),
    (r"head\.weight", "", "decoded0"),
)
"""Beginnings of names, and the groups of the channels that such weights give and take."""
