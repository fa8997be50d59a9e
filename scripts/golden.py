"""Keep what the product gives for a few clips, and compare it after a change.

    python scripts/golden.py make BEFORE      # at the old commit
    python scripts/golden.py make AFTER       # at the new one
    python scripts/golden.py compare BEFORE AFTER

`make` runs the installed `echoseg` on the demo clip and on four phantom clips (numbers, masks and
tables, in a cohort and one by one), on a biplane study, on masks alone and on a small data set.
`compare` exits with 1 when a mask, a table cell or a number of a report differs. Where two reports
have different schema versions, their numbers are compared without their keys.
"""

import csv
import gzip
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ABSOLUTE = 1e-9
NOT_COMPARED = {"software_version", "echoseg_version", "created", "seconds", "schema_version"}
"""Keys that a new version may change."""


def run(*words: str | Path, allowed: tuple[int, ...] = (0, 1)) -> None:
    """Run one echoseg command; its exit code must be one of those allowed."""
    command = [sys.executable, "-m", "echoseg", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in allowed:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def make(out: Path) -> None:
    """Run the commands whose outputs are kept."""
    if out.exists():
        sys.exit(f"{out} exists; remove it or give another folder")
    out.mkdir(parents=True)
    clips = out / "clips"
    size = ("--size", "160", "--frames", "40", "--fps", "30")
    run("phantom", "make", clips, "--num-clips", "4", "--seed", "11", "--layout", "dicom", *size)
    both = out / "camus"
    run("phantom", "make", both, "--num-clips", "2", "--seed", "5", "--layout", "camus", *size)
    run("demo", "-o", out / "demo")
    run("analyze", clips, "-o", out / "cohort", "--jobs", "1", "--no-pages", "--view", "A4C")
    first = sorted(path for path in clips.rglob("*") if path.suffix == ".dcm")[0]
    run("analyze", first, "-o", out / "phantom-weights", "--model", "phantom", "--view", "A4C")
    masks = sorted((out / "demo").rglob("masks.nii.gz"))[0]
    run("measure", masks, "-o", out / "measured", "--spacing-mm", "0.5", "0.5", "--fps", "25")
    run("analyze", "--a4c", first, "--a2c", first, "-o", out / "biplane")
    run("evaluate", "camus", both, "-o", out / "evaluation", "--split", "train", "--no-pictures")
    for pictures in out.rglob("*.mp4"):
        pictures.unlink()
    shutil.rmtree(both)
    shutil.rmtree(clips)


def leaves(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    """Yield (dotted key, value) of every leaf of a JSON document."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in NOT_COMPARED:
                yield from leaves(inner, f"{key}.{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{key}.{index}")
    else:
        yield key, value


def is_number(value: object) -> bool:
    """Return whether a JSON leaf is a number (not bool)."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def json_differences(before: Path, after: Path) -> list[str]:
    """Return one line for each number that differs between two JSON files."""
    one, two = (json.loads(path.read_text("utf-8")) for path in (before, after))
    numbers = [{k: v for k, v in leaves(doc) if is_number(v)} for doc in (one, two)]
    if one.get("schema_version") != two.get("schema_version"):
        counts = [Counter(round(float(v), 6) for v in values.values()) for values in numbers]
        lost = counts[0] - counts[1]
        return [f"number {value} no longer appears ({n} times)" for value, n in lost.items()]
    keys = numbers[0].keys() | numbers[1].keys()
    return [
        f"{key}: {numbers[0].get(key)} -> {numbers[1].get(key)}"
        for key in sorted(keys)
        if key not in numbers[0]
        or key not in numbers[1]
        or abs(numbers[0][key] - numbers[1][key]) > ABSOLUTE
    ]


def csv_differences(before: Path, after: Path) -> list[str]:
    """List the numeric cells that differ; columns match by position, new ones may follow."""
    with before.open(newline="") as one, after.open(newline="") as two:
        old_rows, new_rows = list(csv.reader(one)), list(csv.reader(two))
    if len(old_rows) != len(new_rows):
        return [f"{len(old_rows)} rows -> {len(new_rows)}"]
    return [
        f"row {r}, column {old_rows[0][c]}: {old} -> {new}"
        for r, (olds, news) in enumerate(zip(old_rows, new_rows, strict=True))
        for c, (old, new) in enumerate(zip(olds, news, strict=False))
        if old != new and is_numeral(old) and old_rows[0][c] not in NOT_COMPARED
    ]


def is_numeral(text: str) -> bool:
    """Whether a table cell holds a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def compare(before: Path, after: Path) -> int:
    """Print what differs; return the exit code."""
    differences = 0
    for path in sorted(p for p in before.rglob("*") if p.is_file()):
        other = after / path.relative_to(before)
        if not other.exists():
            lines = ["is missing"]
        elif path.suffix == ".json":
            lines = json_differences(path, other)
        elif path.suffix == ".csv":
            lines = csv_differences(path, other)
        elif path.name.endswith(".nii.gz"):
            same = gzip.decompress(path.read_bytes()) == gzip.decompress(other.read_bytes())
            lines = [] if same else ["has other masks"]
        else:
            lines = []
        differences += len(lines)
        for line in lines[:10]:
            print(f"{path.relative_to(before)}: {line}")
    print(f"{differences} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "make":
        make(Path(sys.argv[2]))
    elif len(sys.argv) == 4 and sys.argv[1] == "compare":
        sys.exit(compare(Path(sys.argv[2]), Path(sys.argv[3])))
    else:
        sys.exit(__doc__)
