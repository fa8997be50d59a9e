"""Key-frame experiment: accuracy against compute, for four schedulers on phantom clips.

MSSNet `small`, or a checkpoint, is trained for some steps on simulated clips in which each frame is
a key frame or a cheap one by chance. For each budget, a fraction of key frames, it then segments
long simulated clips that it was not trained on, with key frames chosen by a fixed interval, a
difference threshold, regressed gains and a learned policy; the last three are fitted on other
clips. Reported are the mean Dice over labels and frames, that of the ED and ES frames, and the cost
as a fraction of all frames in full, by counted operations, including the ED and ES frames that are
computed again in full. An upper bound comes from the best key frames, found by search from the
states of a run with every frame in full.

    OUT/experiment.json    the settings
    OUT/weights.pt         the trained network
    OUT/results.json       scores by budget and scheduler; complete budgets are skipped
    OUT/figure.png         Dice lost against compute
"""

import json
import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from echoseg.clip import View
from echoseg.errors import ConfigError
from echoseg.files import ResumableFolder, atomic_write, write_text
from echoseg.losses import cross_entropy_dice_loss
from echoseg.phantom import Phantom, PhantomConfig
from echoseg.train.data.sources import phantom_config
from experiments.keyframes import (
    Budget,
    DifferenceThreshold,
    FixedInterval,
    Policy,
    Scheduler,
    forward_by,
    segment_clip,
)
from experiments.keyframes.episode import mean_dice
from experiments.keyframes.gains import (
    collect_gains,
    gain_scheduler,
    learn_gains,
    threshold_of_budget,
)
from experiments.keyframes.net import KeyFrameNet
from experiments.keyframes.network import KeyFrameMSSNet
from experiments.keyframes.policy import PolicyConfig, learn_policy
from experiments.keyframes.scheduled import beat_extremes
from experiments.keyframes.table import GainTable, TableEpisode, best_keys, gain_table

NAMES = ("fixed interval", "difference", "regressed gain", "policy")
WEIGHTS, RESULTS, FIGURE = "weights.pt", "results.json", "figure.png"
LabelledClip = tuple[Tensor, Tensor]
"""Frames `T 1 1 S S` in [0, 1] and masks `T S S`."""


class KeyFrameExperiment(BaseModel):
    """Settings of the experiment."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    checkpoint: str | None = None
    """Initial weights; None: random."""
    budgets: tuple[float, ...] = Field(default=(0.1, 0.2, 0.35, 0.5), min_length=1)
    """Fractions of key frames, over 0 and under 1."""
    num_training_clips: int = Field(default=200, ge=2)
    num_steps: int = Field(default=400, ge=0)
    num_updates: int = Field(default=100, ge=1)
    """Updates of the learned policy."""
    num_clips: int = Field(default=8, ge=1)
    """Long clips to fit the schedulers on, and as many others to evaluate on."""
    num_frames: int = Field(default=60, ge=2)
    """Frames per long clip."""
    image_size: int = Field(default=112, ge=64, le=768, multiple_of=16)
    margin: int = Field(default=0, ge=0)
    """Frames on either side of ED and ES that are computed in full as well."""

    @field_validator("budgets")
    @classmethod
    def _fractions(cls, budgets: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < budget < 1 for budget in budgets):
            raise ValueError(f"budgets must be over 0 and under 1, got {budgets}")
        return tuple(dict.fromkeys(budgets))


def run_experiment(
    experiment: KeyFrameExperiment, out: Path, report: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Train, fit the schedulers of each budget and evaluate them; complete budgets are skipped.

    Raises:
        EchosegError: If the folder contains another experiment, or the checkpoint is not an MSSNet.
    """
    folder = ResumableFolder(out, "experiment.json", KeyFrameExperiment, "an experiment")
    with folder.locked():
        folder.begin(experiment, varying=("budgets",))
        results = read_results(out) if (out / RESULTS).exists() else {}
        torch.manual_seed(0)
        model = _trained(experiment, out)
        seeds, size = range(experiment.num_clips), experiment.image_size
        fit = (simulate(20_000 + seed, size, experiment.num_frames) for seed in seeds)
        tables = [gain_table(model, *clip) for clip in fit]
        clips = [simulate(30_000 + seed, size, experiment.num_frames) for seed in seeds]
        cost = cheap_cost(model, size)
        evaluate = partial(scores, model, clips, margin=experiment.margin, cheap_cost=cost)
        results |= {
            "cheap_cost": cost,
            "machine": f"{platform.machine()}, torch {torch.__version__}",
            "all in full": evaluate(FixedInterval(1)),
        }
        full = results["all in full"]["dice"]
        report(f"a cheap frame costs {cost:.3f} of a full one; all in full: Dice {full:.4f}")
        results["bound"] = results.get("bound", {}) | {
            str(budget): upper_bound(model, clips, budget)
            for budget in experiment.budgets
            if str(budget) not in results.get("bound", {})
        }
        for budget in experiment.budgets:
            if all(f"{budget} {name}" in results for name in NAMES):
                continue
            for name, scheduler in schedulers(tables, budget, experiment.num_updates).items():
                score = evaluate(scheduler, budget=budget)
                results[f"{budget} {name}"] = score
                values = ", ".join(f"{k} {v:.4f}" for k, v in score.items() if k != "clips")
                report(f"{budget:g} {name}: {values}")
            write_text(out / RESULTS, json.dumps(results, indent=1) + "\n")
        draw(results, out / FIGURE)
    return results


def read_results(out: Path) -> dict[str, Any]:
    """The results of a folder.

    Raises:
        ConfigError: If they are missing or damaged.
    """
    try:
        return json.loads((out / RESULTS).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{out / RESULTS} cannot be read ({error}); remove it and run the experiment again"
        ) from error


def simulate(seed: int, size: int, num_frames: int) -> LabelledClip:
    """A long A4C clip at 30 frames per second."""
    return _tensors(
        PhantomConfig(
            seed=seed, view=View.A4C, size_px=size, num_frames=num_frames, frame_rate_hz=30.0
        )
    )


def _tensors(config: PhantomConfig) -> LabelledClip:
    phantom = Phantom(config)
    frames = torch.from_numpy(phantom.frames()).float() / 255
    return frames[:, None, None], torch.from_numpy(phantom.masks()).long()


def _trained(experiment: KeyFrameExperiment, out: Path) -> KeyFrameMSSNet:
    """The network of an earlier run, or one trained now."""
    model = KeyFrameMSSNet()
    if experiment.checkpoint:
        model = KeyFrameMSSNet.from_checkpoint(experiment.checkpoint)
    if (out / WEIGHTS).exists():
        model.load_state_dict(torch.load(out / WEIGHTS, weights_only=True))
    else:
        _train(model, experiment)
        with atomic_write(out / WEIGHTS) as partial_path:
            torch.save(model.state_dict(), partial_path)
    return model.eval()


def _train(model: KeyFrameMSSNet, experiment: KeyFrameExperiment) -> None:
    """Take steps on two clips at a time; half of the frames after the first are cheap."""
    size, seeds = experiment.image_size, range(experiment.num_training_clips)
    clips = [_tensors(phantom_config(seed, size, num_frames=6)) for seed in seeds]
    frames = torch.stack([frames[:, 0] for frames, _ in clips])  # (N, T, 1, S, S)
    masks = torch.stack([masks for _, masks in clips])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    model.train()
    for _ in range(experiment.num_steps):
        chosen = torch.randperm(len(frames), generator=generator)[:2]
        is_full = (torch.rand(frames.shape[1], generator=generator) < 0.5).tolist()
        logits = forward_by(model, frames[chosen], [True, *is_full[1:]])
        loss = cross_entropy_dice_loss(logits.flatten(0, 1), masks[chosen].flatten(0, 1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        optimizer.step()


@torch.inference_mode()
def cheap_cost(model: Any, size: int) -> float:
    """Operations of a cheap frame over those of a full one."""
    frame, counts = torch.rand(1, 1, size, size), []
    _, state = model.step(frame, model.init_state(1))
    for path in (model.step, model.cheap_step):
        with FlopCounterMode(display=False) as counter:
            path(frame, state)
        counts.append(counter.get_total_flops())
    return counts[1] / counts[0]


def schedulers(tables: list[GainTable], budget: float, num_updates: int) -> dict[str, Scheduler]:
    """The four schedulers of a budget, fitted on the clips of these tables."""

    def episodes() -> list[TableEpisode]:
        return [TableEpisode(table) for table in tables]

    torch.manual_seed(0)
    gain_net, policy_net = KeyFrameNet(), KeyFrameNet(key_share=budget)
    learn_gains(gain_net, *collect_gains(episodes(), budget, torch.Generator().manual_seed(0)))
    config = PolicyConfig(budget=Budget(share=budget), num_updates=num_updates)
    learn_policy(policy_net, lambda update: episodes(), config)
    threshold = threshold_of_budget(DifferenceThreshold, episodes, budget, (0, 3))
    fitted = (
        FixedInterval(round(1 / budget)),
        DifferenceThreshold(threshold),
        gain_scheduler(gain_net, episodes, budget),
        Policy(policy_net),
    )
    return dict(zip(NAMES, fitted, strict=True))


def scores(
    model: Any,
    clips: list[LabelledClip],
    scheduler: Scheduler,
    *,
    budget: float | None = None,
    margin: int = 0,
    cheap_cost: float = 0.3,
) -> dict[str, Any]:
    """Mean Dice of all frames and of ED and ES, the cost, and the Dice of each clip."""
    extremes = partial(beat_extremes, margin=margin)
    limit = None if budget is None else Budget(share=budget)
    each_clip, end_dice, costs = [], [], []
    for frames, masks in clips:
        clip = segment_clip(model, frames, scheduler, budget=limit, extremes=extremes)
        dice = [mean_dice(logits, mask) for logits, mask in zip(clip.logits, masks, strict=True)]
        areas = (masks == 1).sum((1, 2))
        each_clip.append(round(float(np.mean(dice)), 5))
        end_dice += [dice[int(areas.argmax())], dice[int(areas.argmin())]]
        costs.append(clip.cost(cheap_cost))
    means = (float(np.mean(each)) for each in (each_clip, end_dice, costs))
    return {**dict(zip(("dice", "ed_es_dice", "cost"), means, strict=True)), "clips": each_clip}


def upper_bound(model: Any, clips: list[LabelledClip], budget: float) -> dict[str, float]:
    """Mean Dice of the best key frames and of evenly spaced ones, by one table of gains."""
    best, even = [], []
    for clip in clips:
        table = gain_table(model, *clip, max_gap=len(clip[0]) - 1)
        num_keys = max(1, round(budget * len(table.full)))
        best.append(best_keys(table, num_keys)[0])
        episode = TableEpisode(table)
        dice = [float(table.full[0])]
        for index in range(1, len(table.full)):
            is_key = index * num_keys % len(table.full) < num_keys
            dice.append(float(table.full[index]) - (0 if is_key else episode.gain()))
            episode.take(is_key)
        even.append(float(np.mean(dice)))
    return {"best": float(np.mean(best)), "even": float(np.mean(even))}


def draw(results: dict[str, Any], path: Path) -> None:
    """Plot Dice lost against compute, with one standard error over clips."""
    from matplotlib.figure import Figure

    full = np.array(results["all in full"]["clips"])
    figure = Figure(figsize=(6.4, 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    for name in NAMES:
        points = [results[key] for key in results if key.endswith(f" {name}")]
        lost = [100 * (np.array(point["clips"]) - full) for point in points]
        axes.errorbar(
            [100 * point["cost"] for point in points],
            [each.mean() for each in lost],
            [each.std() / max(1, len(each) - 1) ** 0.5 for each in lost],
            marker="o", capsize=2, label=name,
        )  # fmt: skip
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.axhline(-0.3, color="grey", linewidth=0.8, linestyle=":")
    axes.set_xlabel("compute, % of all frames in full")
    axes.set_ylabel("Dice less that of all frames in full, points")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with atomic_write(path) as partial_path:
        figure.savefig(partial_path, format="png", metadata={"Software": None})
