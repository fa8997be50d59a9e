"""Do 10,000 broken masks raise, or give invalid numbers or an EF without volumes?

    python benchmarks/broken_masks.py [--cases 10000] [--json OUT]

Noise, nothing, fragments, holes, flicker, hearts pushed out of the picture, lines and checkerboards
(`tests/mask_breakers.py`), with odd scales, times and R waves, through `measure_masks`, the report
and the registry row. Every case that fails is printed with its seed.
"""

import argparse
import collections
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "measure"))

from test_broken_masks import check

from mask_breakers import BREAKERS
from speed import machine


def main() -> None:
    """Measure, count, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    counts: collections.Counter[str] = collections.Counter()
    start = time.perf_counter()
    for seed in range(args.cases):
        kind = BREAKERS[seed % len(BREAKERS)].__name__
        try:
            counts[f"{kind}: {'EF' if check(seed) else 'refused'}"] += 1
        except Exception as error:  # the question is whether there is any
            counts["failed"] += 1
            print(f"seed {seed} ({kind}): {type(error).__name__}: {str(error)[:100]}")
    took_s = time.perf_counter() - start
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    print(f"{args.cases} cases in {took_s:.0f} s, {counts['failed']} failed, "
          f"ratio {counts['failed'] / args.cases:.4f}")  # fmt: skip
    print("\n".join(f"  {name} {number}" for name, number in sorted(counts.items())))
    if args.json:
        results = {"machine": machine(), "cases": args.cases, "took_s": took_s, "counts": counts}
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
