"""Accuracy against compute: MSSNet with key frames chosen by four schedulers, on phantom clips.

    python benchmarks/schedule_curve.py CLIPS.npz --out FILE.json [--shares 0.1 0.2 0.35 0.5]
        [--checkpoint NET] [--num-steps N] [--num-updates N] [--clips-each N] [--num-frames N]
        [--beside N] [--picture FILE.png]

The network (MSSNet `small`, or a checkpoint) is trained for some steps on CLIPS.npz, each frame
in full or cheap by chance. For each budget, a share of key frames, it then segments long phantom
clips that it never saw, its key frames chosen by a fixed interval, by a threshold on the
difference, by regressed gains and by a learned policy; the last three learn, or find their
threshold, on other clips. Told are the mean Dice over labels and frames, that of the ED and ES
frames alone, and the cost as a share of all frames in full, by counted operations, with the frames
that the rail for ED and ES (and N frames beside each) computes again. What stands in FILE is not
run again; the trained weights lie beside it. Without the rail, and from states that saw every frame
in full, the best key frames of each budget are found by search: an upper bound for that table.

CLIPS.npz is made by `benchmarks/make_phantom_clips.py`.
"""

import argparse
import json
import platform
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from echoseg.clip import View
from echoseg.losses import cross_entropy_dice_loss
from echoseg.phantom import Phantom, PhantomConfig
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

LabelledClip = tuple[Tensor, Tensor]
"""Frames `T 1 1 S S` and masks `T S S`."""


def simulate(seed: int, size: int, num_frames: int) -> LabelledClip:
    """Return a long A4C clip at 30 frames per second."""
    phantom = Phantom(
        PhantomConfig(
            seed=seed, view=View.A4C, size_px=size, num_frames=num_frames, frame_rate_hz=30.0
        )
    )
    frames = torch.from_numpy(phantom.frames()).float() / 255
    return frames[:, None, None], torch.from_numpy(phantom.masks()).long()


def train(model: Any, path: Path, size: int, num_steps: int) -> None:
    """Take steps on two clips at a time, half of the frames after the first cheap."""
    with np.load(path) as file:
        frames, masks = torch.from_numpy(file["frames"]), torch.from_numpy(file["masks"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    model.train()
    for _ in range(num_steps):
        chosen = torch.randperm(len(frames), generator=generator)[:2]
        is_full = (torch.rand(frames.shape[1], generator=generator) < 0.5).tolist()
        square = torch.nn.functional.interpolate(
            frames[chosen].float() / 255, size=(size, size), mode="area"
        )
        labels = torch.nn.functional.interpolate(masks[chosen].float(), size=(size, size)).long()
        logits = forward_by(model, square[:, :, None], [True, *is_full[1:]])
        loss = cross_entropy_dice_loss(logits.flatten(0, 1), labels.flatten(0, 1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        optimizer.step()
    model.eval()


def trained(args: argparse.Namespace) -> Any:
    """Return the network: that of an earlier call, or trained now and kept."""
    model = KeyFrameMSSNet()
    if args.checkpoint:
        model = KeyFrameMSSNet.from_checkpoint(args.checkpoint)
    weights = args.out.with_suffix(".weights.pt")
    if weights.exists():
        model.load_state_dict(torch.load(weights, weights_only=True))
    else:
        train(model, args.clips, args.size, args.num_steps)
        torch.save(model.state_dict(), weights)
    return model.eval()


@torch.inference_mode()
def cheap_cost(model: Any, size: int) -> float:
    """Return a cheap frame's operations over a full one's."""
    frame, counts = torch.rand(1, 1, size, size), []
    _, state = model.step(frame, model.init_state(1))
    for path in (model.step, model.cheap_step):
        with FlopCounterMode(display=False) as counter:
            path(frame, state)
        counts.append(counter.get_total_flops())
    return counts[1] / counts[0]


def schedulers(
    tables: list[GainTable], share: float, args: argparse.Namespace
) -> dict[str, Scheduler]:
    """Return the four of a budget; they learn on the clips of these tables."""

    def episodes() -> list[TableEpisode]:
        return [TableEpisode(table) for table in tables]

    torch.manual_seed(0)
    gain_net, policy_net = KeyFrameNet(), KeyFrameNet(key_share=share)
    learn_gains(gain_net, *collect_gains(episodes(), share, torch.Generator().manual_seed(0)))
    config = PolicyConfig(budget=Budget(share=share), num_updates=args.num_updates)
    learn_policy(policy_net, lambda update: episodes(), config)
    threshold = threshold_of_budget(DifferenceThreshold, episodes, share, (0, 3))
    return {
        "fixed interval": FixedInterval(round(1 / share)),
        "difference": DifferenceThreshold(threshold),
        "regressed gain": gain_scheduler(gain_net, episodes, share),
        "policy": Policy(policy_net),
    }


def scores(
    model: Any,
    clips: list[LabelledClip],
    scheduler: Scheduler,
    share: float | None,
    args: argparse.Namespace,
) -> dict[str, Any]:
    """Return Dice, that of each clip, and the share of frames computed in full, and again."""
    rail = partial(beat_extremes, margin=args.beside)
    each_clip, end_dice, costs = [], [], []
    for frames, masks in clips:
        budget = None if share is None else Budget(share=share)
        clip = segment_clip(model, frames, scheduler, budget=budget, extremes=rail)
        dice = [mean_dice(logits, mask) for logits, mask in zip(clip.logits, masks, strict=True)]
        areas = (masks == 1).sum((1, 2))
        each_clip.append(round(float(np.mean(dice)), 5))
        end_dice += [dice[int(areas.argmax())], dice[int(areas.argmin())]]
        costs.append(clip.cost(args.cheap))
    means = (float(np.mean(each)) for each in (each_clip, end_dice, costs))
    return {**dict(zip(("dice", "ed_es_dice", "cost"), means, strict=True)), "clips": each_clip}


def searched(
    model: Any, clips: list[LabelledClip], shares: list[float]
) -> dict[str, dict[str, float]]:
    """Return the mean Dice of the best key frames and of evenly spread ones, by the same table."""
    tables = [gain_table(model, *clip, max_gap=len(clip[0]) - 1) for clip in clips]
    results = {}
    for share in shares:
        best, even = [], []
        for table in tables:
            num_keys = max(1, round(share * len(table.full)))
            best.append(best_keys(table, num_keys)[0])
            episode = TableEpisode(table)
            dice = [float(table.full[0])]
            for index in range(1, len(table.full)):
                is_key = index * num_keys % len(table.full) < num_keys
                dice.append(float(table.full[index]) - (0 if is_key else episode.gain()))
                episode.take(is_key)
            even.append(float(np.mean(dice)))
        results[str(share)] = {"best": float(np.mean(best)), "even": float(np.mean(even))}
    return results


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw Dice lost against compute, with one standard error over clips."""
    from matplotlib.figure import Figure

    full = np.array(results["all in full"]["clips"])
    figure = Figure(figsize=(6.4, 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    for name in ("fixed interval", "difference", "regressed gain", "policy"):
        points = [results[key] for key in results if key.endswith(f" {name}")]
        lost = [100 * (np.array(point["clips"]) - full) for point in points]
        axes.errorbar(
            [100 * point["cost"] for point in points],
            [each.mean() for each in lost],
            [each.std(ddof=1) / len(each) ** 0.5 for each in lost],
            marker="o", capsize=2, label=name,
        )  # fmt: skip
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.axhline(-0.3, color="grey", linewidth=0.8, linestyle=":")
    axes.set_xlabel("compute, % of all frames in full")
    axes.set_ylabel("Dice less that of all frames in full, points")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Software": None})


def main() -> None:
    """Train, choose, score, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--checkpoint", help="to start from")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.2, 0.35, 0.5])
    parser.add_argument("--num-steps", type=int, default=400)
    parser.add_argument("--num-updates", type=int, default=100)
    parser.add_argument("--clips-each", type=int, default=8, help="to learn on, and to score")
    parser.add_argument("--num-frames", type=int, default=60)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--beside", type=int, default=0, help="frames by ED and ES in full too")
    parser.add_argument("--picture", type=Path, help="draw what stands in FILE and run nothing")
    args = parser.parse_args()
    if args.picture:
        return draw(json.loads(args.out.read_text("utf-8")), args.picture)
    torch.manual_seed(0)
    model = trained(args)
    seeds = range(args.clips_each)
    learned_on = (simulate(20_000 + seed, args.size, args.num_frames) for seed in seeds)
    tables = [gain_table(model, *clip) for clip in learned_on]
    scored_on = [simulate(30_000 + seed, args.size, args.num_frames) for seed in seeds]
    args.cheap = cheap_cost(model, args.size)
    results = json.loads(args.out.read_text("utf-8")) if args.out.exists() else {}
    results |= {
        "cheap_cost": args.cheap,
        "machine": f"{platform.machine()}, torch {torch.__version__}",
    }
    results["all in full"] = scores(model, scored_on, FixedInterval(1), None, args)
    print(
        f"a cheap frame costs {args.cheap:.3f}; all in full: {results['all in full']['dice']:.4f}",
        flush=True,
    )
    if "searched" not in results:
        results["searched"] = searched(model, scored_on, args.shares)
        print("searched:", results["searched"], flush=True)
        args.out.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    for share in args.shares:
        if all(f"{share} {name}" in results for name in ("fixed interval", "policy")):
            continue
        for name, scheduler in schedulers(tables, share, args).items():
            score = scores(model, scored_on, scheduler, share, args)
            results[f"{share} {name}"] = score
            print(
                f"{share:5.2f} {name:15s}",
                {k: round(v, 4) for k, v in score.items() if k != "clips"},
                flush=True,
            )
        args.out.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
