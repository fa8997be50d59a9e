"""DeepLabV3 trained by the recipe of EchoNet-Dynamic, on ED and ES of any data set.

    loss of a step = (sum of BCE(z, cavity) at ED + the same at ES) / 2    over pixels and clips

z is one foreground logit. Stochastic gradient descent at a constant rate of 1e-5 with momentum .9,
20 clips per step, 50 epochs at 112 px, random first weights, no augmentation; ED and ES go through
the network one after the other. The weights with the lowest loss on held-out patients count. As
there, grey levels are scaled by their mean and standard deviation in the training frames. Frames
that are not square are letterboxed.

    OUT/
      recipe.json         the settings
      log.jsonl           one line per epoch
      resume.safetensors  weights and momentum after the last epoch
      best.safetensors    the network, for `echoseg evaluate`: labels background and cavity alone

Reference:
    Ouyang et al., Nature 580:252-256, 2020; echonet/utils/segmentation.py of
    https://github.com/echonet/dynamic at commit 196e7f7, written anew.
"""

import json
import math
import platform
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from echoseg.clip import Label, View
from echoseg.data import Dataset
from echoseg.data.torch_dataset import ClipCache, TorchDataset
from echoseg.errors import ConfigError, DatasetError
from echoseg.files import ResumableFolder, atomic_write
from echoseg.models.build import architecture_of
from echoseg.models.checkpoint import save_checkpoint
from echoseg.nn.fused import has_bf16
from echoseg.train.data.sources import Reader
from echoseg.train.state_file import read_state, write_state
from echoseg.weights.card import ModelCard
from experiments.held_out import hold_out
from experiments.networks.deeplab_v3 import DeepLabV3

LEARNING_RATE, MOMENTUM = 1e-5, 0.9
NEVER = -100.0
"""Logit of labels that the recipe does not learn."""


class Recipe(BaseModel):
    """Settings; the defaults are the published ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    """Folder of the data set; a tenth of its training patients is held out."""
    seed: int = Field(default=0, ge=0)
    num_epochs: int = Field(default=50, ge=1)
    clips_per_step: int = Field(default=20, ge=1)
    image_size: int = Field(default=112, ge=16)
    width: int = Field(default=64, ge=2)
    """Channels of the network's first layer; smaller in tests."""


def train(recipe: Recipe, out: Path, report: Callable[[str], None] = print) -> Path:
    """Train, or continue a training, and return the network's file.

    Args:
        recipe: The settings.
        out: Folder of the run.
        report: Called with a sentence after each epoch.

    Raises:
        EchosegError: If data or folder are wrong.
    """
    folder = ResumableFolder(out, "recipe.json", Recipe, "a training by EchoNet's recipe")
    with folder.locked():
        folder.begin(recipe)
        if recipe.data.startswith("phantom:"):
            raise ConfigError(f"data must be the folder of a data set, got {recipe.data}")
        parts = hold_out([recipe.data], recipe.seed)
        training, held_out = (_stills(part, recipe) for part in (parts.data[0], parts.validation))
        if len(training[0]) < recipe.clips_per_step:
            raise DatasetError(
                f"{recipe.data} must have {recipe.clips_per_step} clips with masks of ED and ES to "
                f"train on, it has {len(training[0])}; give a data set with more"
            )
        card = _card(recipe, parts.data[0])
        grey = training[0].float() / 255
        torch.manual_seed(recipe.seed)
        model: Any = DeepLabV3(
            width=recipe.width, num_labels=1, grey_mean=float(grey.mean()),
            grey_std=float(grey.std()),
        )  # fmt: skip
        model = model.to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
        first, best = 0, math.inf
        resume = out / "resume.safetensors"
        if resume.exists():
            state = _read(resume)
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            first, best = state["epoch"] + 1, state["best"]
        for epoch in range(first, recipe.num_epochs):
            line = {"epoch": epoch, "loss": _epoch(model, optimizer, training, recipe, epoch)}
            line |= _scores(model, held_out, recipe)
            if not math.isfinite(line["loss"] + line["held_out_loss"]):
                raise ConfigError(
                    f"the loss is not a number in epoch {epoch}; start again in another folder (-o)"
                )
            if line["held_out_loss"] < best:
                best = line["held_out_loss"]
                network = four_labels(model)
                named = card.model_copy(update={"architecture": architecture_of(network)})
                save_checkpoint(out / "best.safetensors", network, named)
            with (out / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
            states = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            with atomic_write(resume) as partial:
                write_state(partial, states | {"epoch": epoch, "best": best})
            report(", ".join(f"{name} {value:.4g}" for name, value in line.items()))
        if not (out / "best.safetensors").exists():
            raise ConfigError(
                f"{out} must hold best.safetensors after its last epoch, it does not; start "
                "again in another folder (-o)"
            )
    return out / "best.safetensors"


def _read(path: Path) -> Any:
    """The state after the last epoch.

    Raises:
        ConfigError: If it is damaged.
    """
    try:
        return read_state(path)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} cannot be continued from ({error}); remove the folder to begin anew"
        ) from error


def four_labels(model: DeepLabV3) -> DeepLabV3:
    """The same network with the four labels of `Label`: cavity where its one logit is over 0."""
    twin = DeepLabV3(model.config.model_copy(update={"num_labels": len(Label)}))
    state = dict(model.state_dict())
    weight, bias = state["classifier.4.weight"], state["classifier.4.bias"]
    weights, biases = weight.new_zeros(len(Label), *weight.shape[1:]), bias.new_full((4,), NEVER)
    biases[Label.BACKGROUND] = 0
    weights[Label.LV_CAVITY], biases[Label.LV_CAVITY] = weight[0], bias[0]
    twin.load_state_dict(state | {"classifier.4.weight": weights, "classifier.4.bias": biases})
    return twin.eval()


def _stills(data: Dataset, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Frames `N 2 S S` uint8 of ED and ES of all clips that have masks of both, and cavities."""
    clips = TorchDataset(data.records, size=recipe.image_size)
    frames, cavities = [], []
    for index in range(len(clips)):
        clip = clips.clip(index)
        ends = [clip.ed_frame, clip.es_frame]
        if None not in ends and set(ends) <= set(clip.labeled_frames):
            frames.append(clip.frames[ends])
            cavities.append(clip.masks_at([int(end or 0) for end in ends]) == Label.LV_CAVITY)
    if not frames:
        raise DatasetError(f"{data.root} must have clips with masks of ED and ES, it has none")
    return torch.stack(frames), torch.stack(cavities)


def _card(recipe: Recipe, data: Any) -> ModelCard:
    source = Reader(recipe.image_size, ClipCache()).open(data)
    return ModelCard(
        architecture="to be set", image_size=recipe.image_size, licence=source.licence,
        notice=source.notice, trained_on=source.words,
        views=tuple(view for view in (View.A4C, View.A2C) if view in source.clips.views),
        provenance=f"{recipe.model_dump_json()}; torch {torch.__version__}, {platform.machine()}",
    )  # fmt: skip


def _epoch(
    model: DeepLabV3,
    optimizer: torch.optim.Optimizer,
    stills: tuple[Tensor, Tensor],
    recipe: Recipe,
    epoch: int,
) -> float:
    """Train on each clip once; the mean loss of a pixel."""
    model.train()
    frames, cavities = stills
    torch.manual_seed(1_000_003 * recipe.seed + epoch)  # of the order and the dropout
    order = torch.randperm(len(frames))
    num_steps = len(order) // recipe.clips_per_step
    total = 0.0
    for chosen in order[: num_steps * recipe.clips_per_step].chunk(num_steps):
        optimizer.zero_grad()
        for end in (0, 1):
            loss = _loss(_logits(model, frames[chosen, end]), cavities[chosen, end]) / 2
            loss.backward()
            total += loss.item()
        optimizer.step()
    return total / (num_steps * recipe.clips_per_step * recipe.image_size**2)


@torch.no_grad()
def _scores(model: DeepLabV3, stills: tuple[Tensor, Tensor], recipe: Recipe) -> dict[str, float]:
    """Loss of a pixel, and Dice over all stills."""
    model.eval()
    frames, cavities = (part.flatten(0, 1) for part in stills)
    total, both, sizes = 0.0, 0, int(cavities.sum())
    for chosen in torch.arange(len(frames)).split(recipe.clips_per_step):
        logits = _logits(model, frames[chosen])
        total += float(_loss(logits, cavities[chosen]))
        both += int(((logits > 0) & cavities[chosen]).sum())
        sizes += int((logits > 0).sum())
    num_pixels = len(frames) * recipe.image_size**2
    return {"held_out_loss": total / num_pixels, "held_out_dice": 2 * both / max(sizes, 1)}


def _logits(model: DeepLabV3, frames: Tensor) -> Tensor:
    """Logits `N S S` of uint8 frames, in bfloat16 where the processor computes in it."""
    computed = torch.autocast("cpu", torch.bfloat16) if has_bf16() else nullcontext()
    with computed:
        return model.segment(frames[:, None].float() / 255)[:, 0].float()


def _loss(logits: Tensor, cavity: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, cavity.float(), reduction="sum")
