"""Key-frame experiment: accuracy against compute, for five schedulers of any network.

A network segments clips with key frames in full and the others by moving the last logits along
(`warp`). For each budget, a fraction of key frames, key frames are chosen by a fixed interval, a
difference threshold, a threshold on the network's uncertainty, regressed gains and a learned
policy; the last four are fitted on other clips. Reported are the mean Dice over labels and frames,
that of the ED and ES frames, and the cost as a fraction of all frames in full, by measured time,
including the ED and ES frames that are computed again in full, unless `guard` is off. An upper
bound comes from the best key frames, found by search from the states of a run with every frame in
full.

    OUT/experiment.json    the settings
    OUT/results.json       scores by budget and scheduler; complete budgets are skipped
    OUT/figure.png         Dice lost against compute
"""

import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import Tensor

from echoseg.data.torch_dataset import TorchDataset
from echoseg.errors import ConfigError
from echoseg.files import ResumableFolder, atomic_write, write_text
from echoseg.models.checkpoint import load_model
from echoseg.parallel import torch_threads
from echoseg.weights.card import find_checkpoint
from experiments.eval_sets import clip_records
from experiments.keyframes import (
    Budget,
    DifferenceThreshold,
    FixedInterval,
    Policy,
    Scheduler,
    UncertaintyThreshold,
    WarpedNetwork,
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
from experiments.keyframes.policy import PolicyConfig, learn_policy
from experiments.keyframes.scheduled import beat_extremes
from experiments.keyframes.table import GainTable, TableEpisode, best_keys, gain_table
from experiments.keyframes.warp import NUM_MAPS
from experiments.provenance import provenance

NAMES = ("fixed interval", "difference", "uncertainty", "regressed gain", "policy")
RESULTS, FIGURE = "results.json", "figure.png"
LabelledClip = tuple[Tensor, Tensor]
"""Frames `T 1 1 S S` in [0, 1] and masks `T S S`."""


class KeyFrameExperiment(BaseModel):
    """Settings of the experiment."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    checkpoint: str = "camus"
    """The network; its card gives the size of its input."""
    fit_set: str = "phantom:validation"
    """Evaluation set (`experiments.eval_sets`) whose clips the schedulers are fitted on."""
    eval_set: str = "phantom:test"
    """The one that is evaluated."""
    budgets: tuple[float, ...] = Field(default=(0.1, 0.2, 0.35, 0.5), min_length=1)
    """Fractions of key frames, over 0 and under 1."""
    num_updates: int = Field(default=100, ge=1)
    """Updates of the learned policy."""
    num_clips: int = Field(default=8, ge=1)
    """Clips to fit on, and clips to evaluate on, spread over their sets."""
    guard: bool = True
    """Compute ED and ES of every beat in full after the clip."""

    @model_validator(mode="after")
    def _sets_differ(self) -> Self:
        if self.fit_set == self.eval_set:
            raise ValueError(
                f"fit_set and eval_set must differ, both are {self.eval_set!r}; give two splits"
            )
        return self

    @field_validator("budgets")
    @classmethod
    def _fractions(cls, budgets: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < budget < 1 for budget in budgets):
            raise ValueError(f"budgets must be over 0 and under 1, got {budgets}")
        return tuple(dict.fromkeys(budgets))


def run_experiment(
    experiment: KeyFrameExperiment, out: Path, report: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Fit the schedulers of each budget and evaluate them; complete budgets are skipped.

    Raises:
        EchosegError: If the folder contains another experiment, or network or clips cannot be read.
    """
    place = find_checkpoint(experiment.checkpoint, field="--checkpoint")
    network, card = load_model(str(place))
    model, size = WarpedNetwork(network), card.image_size
    fit, clips = (
        [clip for record in records for clip in read_clip(record, size)]
        for records in (
            clip_records(name, num_clips=experiment.num_clips)
            for name in (experiment.fit_set, experiment.eval_set)
        )
    )
    folder = ResumableFolder(out, "experiment.json", KeyFrameExperiment, "a key-frame experiment")
    with folder.locked():
        folder.begin(experiment, varying=("budgets",))
        results = read_results(out) if (out / RESULTS).exists() else {}
        tables = [gain_table(model, *clip) for clip in fit]
        times_s = path_times_s(model, size)
        costs = {name: times_s[name] / times_s["full"] for name in ("cheap", "observe")}
        evaluate = partial(scores, model, clips, guard=experiment.guard, costs=costs)
        full = evaluate(FixedInterval(1))
        results |= {**provenance(), "times_s": times_s, "all in full": full}
        report(
            f"a cheap frame costs {costs['cheap']:.3f} of a full one, {1 / times_s['full']:.0f} "
            f"full frames per second; all in full: Dice {full['dice']:.4f}"
        )
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


def read_clip(record: Any, size: int) -> list[LabelledClip]:
    """A clip with a mask on every frame, on the network's grid; nothing for others."""
    clip = TorchDataset([record], size=size).clip(0)
    if len(clip.labeled_frames) < len(clip.frames):
        return []
    return [(clip.frames[:, None, None].float() / 255, clip.masks.long())]


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


@torch.inference_mode()
def path_times_s(model: WarpedNetwork, size: int, turns: int = 15) -> dict[str, float]:
    """CPU seconds of a full frame, a cheap one and an observation on one thread.

    Medians of measurements in turns; CPU time, so that other load does not matter.
    """
    frame, times = torch.rand(1, 1, size, size), dict[str, list[float]]()
    _, state = model.step(frame, model.init_state(1))
    paths = {"full": model.step, "cheap": model.cheap_step, "observe": model.observe}
    with torch_threads(1):
        for _ in range(turns):
            for name, path in paths.items():
                start = time.process_time()
                path(frame, state)
                times.setdefault(name, []).append(time.process_time() - start)
    return {name: statistics.median(each) for name, each in times.items()}


def schedulers(tables: list[GainTable], budget: float, num_updates: int) -> dict[str, Scheduler]:
    """The five schedulers of a budget, fitted on the clips of these tables."""

    def episodes() -> list[TableEpisode]:
        return [TableEpisode(table) for table in tables]

    torch.manual_seed(0)
    gain_net = KeyFrameNet(num_maps=NUM_MAPS)
    policy_net = KeyFrameNet(key_share=budget, num_maps=NUM_MAPS)
    learn_gains(gain_net, *collect_gains(episodes(), budget, torch.Generator().manual_seed(0)))
    config = PolicyConfig(budget=Budget(share=budget), num_updates=num_updates)
    learn_policy(policy_net, lambda update: episodes(), config)
    threshold = threshold_of_budget(DifferenceThreshold, episodes, budget, (0, 3))
    uncertainty = threshold_of_budget(
        UncertaintyThreshold, episodes, budget, (0, 10), num_halvings=24
    )
    fitted = (
        FixedInterval(round(1 / budget)),
        DifferenceThreshold(threshold),
        UncertaintyThreshold(uncertainty),
        gain_scheduler(gain_net, episodes, budget),
        Policy(policy_net),
    )
    return dict(zip(NAMES, fitted, strict=True))


def scores(
    model: Any,
    clips: list[LabelledClip],
    scheduler: Scheduler,
    *,
    costs: dict[str, float],
    budget: float | None = None,
    guard: bool = True,
) -> dict[str, Any]:
    """Mean Dice of all frames and of ED and ES, the cost, and the Dice of each clip.

    `costs` are of a cheap frame and of an observation, as fractions of a full frame; a fixed
    interval needs no observation.
    """
    extremes = partial(beat_extremes, margin=0) if guard else lambda labels: set[int]()
    limit = None if budget is None else Budget(share=budget)
    each_clip, end_dice, spent, full = [], [], [], []
    for frames, masks in clips:
        clip = segment_clip(model, frames, scheduler, budget=limit, extremes=extremes)
        dice = [mean_dice(logits, mask) for logits, mask in zip(clip.logits, masks, strict=True)]
        areas = (masks == 1).sum((1, 2))
        each_clip.append(round(float(np.mean(dice)), 5))
        end_dice += [dice[int(areas.argmax())], dice[int(areas.argmin())]]
        observing = 0.0 if isinstance(scheduler, FixedInterval) else costs["observe"]
        spent.append(clip.cost(costs["cheap"]) + observing)
        full.append(clip.is_full.count(True) / len(frames))
    names = "dice", "ed_es_dice", "cost", "full_fraction"
    means = (float(np.mean(each)) for each in (each_clip, end_dice, spent, full))
    return {**dict(zip(names, means, strict=True)), "clips": each_clip}


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
