"""Draw what RAC makes of clips: host, donor, the mixed clip, its matte, target and weight.

    python benchmarks/mixed_clips.py OUT.png [--data phantom:24] [--num-rows 6] [--seed 0]

Targets are the true masks; a half of the clips plays the unlabelled ones, with a weight that falls
towards their borders.
"""

import argparse
from pathlib import Path

import torch
from torch.nn import functional

from echoseg.train.config import train_config
from echoseg.train.data.batches import Batches
from echoseg.train.logging import training_sheet
from echoseg.train.methods.mssnet_cross_mix import Sample, cross_mix
from echoseg.train.train import open_data


def main() -> None:
    """Parse, mix, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", default="phantom:24")
    parser.add_argument("--num-rows", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    config = train_config(data=(args.data,), image_size=192, seed=args.seed)
    batch = Batches(open_data(config)[0], config, 2 * args.num_rows, 0)[0]
    torch.manual_seed(args.seed)
    probs = functional.one_hot(batch.masks.long(), 4).movedim(-1, 2).float()
    soft = functional.avg_pool2d(probs.flatten(0, 1), 15, 1, 7, count_include_pad=False)
    weights = soft.amax(1).view_as(batch.masks) ** 2
    every = Sample(
        frames=batch.strong,
        probs=probs,
        weights=weights,
        phases=batch.phases,
        hidden=batch.hidden,
    )
    order = torch.arange(args.num_rows)
    host, donor = every.pick(order), every.pick(order + args.num_rows)
    mixed, matte = cross_mix(host, donor)
    greys = (host.frames[:, 0, 0], donor.frames[:, 0, 0], mixed.frames[:, 0, 0], matte[:, 0])
    targets, confidence = mixed.probs[:, 0].argmax(1).numpy(), mixed.weights[:, 0].numpy()
    rows = [
        [
            *((each[i].numpy(), None) for each in greys),
            (greys[2][i].numpy(), targets[i]),
            (confidence[i], None),
        ]
        for i in range(args.num_rows)
    ]
    columns = ("host", "donor", "mixed", "matte", "target", "weight")
    training_sheet(columns, rows).save(args.out)


if __name__ == "__main__":
    main()
