"""Write the phantom clips that the first checkpoints were trained on, as one .npz a process.

Uses the phantom's prototype (`echosim.py`) as it is, from the folder given; the phantom gets its
own room in `src/echoseg/phantom/` later. What is drawn here and not by the prototype is the wall
(thicker, as CAMUS labels it), brighter blood and surroundings, and slower frame rates so that
eight frames span a good part of a beat.

    python benchmarks/make_phantom_clips.py PROTOTYPE_DIR OUT.npz --first-seed 20000 --num-clips 900
"""

import argparse
import sys
from pathlib import Path

import numpy as np

TIERS = ("easy", "medium", "medium", "hard", "hard", "extreme")


def drawn_parameters(seed: int) -> dict[str, object]:
    """Return what replaces the prototype's own draws, by seed."""
    rng = np.random.default_rng([seed, 77])
    return {
        "h": float(np.clip(rng.normal(12.3, 2.0), 7.5, 19)),  # wall, mm
        "blood_db": rng.uniform(-28, -11),
        "bg_db": rng.uniform(-13, -3),
        "haze_db": rng.uniform(-33, -18),
        "lvot": False,
        "fps": float(rng.choice([8.0, 15.0, 30.0, 50.0])),
        "view": "4CH" if rng.uniform() < 0.85 else "2CH",
        "gamma": rng.uniform(0.7, 1.3),
        "flip": False,
    }


def main() -> None:
    """Parse, simulate, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prototype", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--first-seed", type=int, default=20000)
    parser.add_argument("--num-clips", type=int, default=900)
    parser.add_argument("--num-frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=160)
    args = parser.parse_args()
    sys.path.insert(0, str(args.prototype))
    import echosim  # type: ignore[import-not-found]

    shape = (args.num_clips, args.num_frames, args.size, args.size)
    frames, masks = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for index in range(args.num_clips):
        seed = args.first_seed + index
        clip = echosim.Clip(
            seed, TIERS[seed % len(TIERS)], args.size, T=args.num_frames, **drawn_parameters(seed)
        )
        frames[index] = echosim.decorate(clip.frames(), clip, seed)
        masks[index] = clip.truth()["masks"]
        if index % 100 == 0:
            print(f"{index} of {args.num_clips}", flush=True)
    np.savez(args.out, frames=frames, masks=masks)


if __name__ == "__main__":
    main()
