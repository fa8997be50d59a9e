"""Write or check the SHA-256 of phantom-v2's labels.

    python scripts/freeze_phantom.py check     # the labels are still those of the release
    python scripts/freeze_phantom.py write     # once, for a version that was never released

A released version is never changed; change what it draws and it is another version.
"""

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from echoseg.phantom import benchmark
from echoseg.phantom.benchmark import (
    FIRST_SEED,
    PHANTOM_VERSION,
    frozen_labels,
    labels_sha256,
    phantom_v2,
)

FROZEN = Path(benchmark.__file__).with_name("phantom_v2.json")
SPLITS = tuple(name for name in FIRST_SEED if name != "train")


def main() -> None:
    """Hash every clip, write or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("check", "write"))
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    hashes: dict[str, list[str]] = {}
    with ProcessPoolExecutor(args.processes) as pool:
        for split in SPLITS:
            hashes[split] = list(pool.map(labels_sha256, phantom_v2(split), chunksize=4))
    if args.what == "write":
        document = {"phantom_version": PHANTOM_VERSION, "labels_sha256": hashes}
        FROZEN.write_text(json.dumps(document, separators=(",", ":")) + "\n", "utf-8")
        return
    mismatches = [
        f"{split} {index}"
        for split, labels in frozen_labels().items()
        for index, known in enumerate(labels)
        if hashes[split][index] != known
    ]
    total = sum(map(len, hashes.values()))
    print(f"{total - len(mismatches)} of {total} clips have the labels of phantom-v2")
    if mismatches:
        sys.exit(f"other labels: {', '.join(mismatches[:20])}")


if __name__ == "__main__":
    main()
