"""Fuzz the readers: by atheris, guided by coverage, or by random mutations.

    python -m fuzz.run --seconds 60                      all targets, a minute together
    python -m fuzz.run clip --seconds 3600               one target, an hour
    python -m fuzz.run --seconds 60 --engine random      without atheris
    python -m fuzz.run clip --input FILE                 one input again

An input that raises anything but an `EchosegError` is kept under --findings, and the exit code is
1. Prints inputs, inputs per second, findings and the slowest input per target.
"""

import argparse
import collections
import hashlib
import importlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from fuzz.mutate import mutated
from fuzz.seeds import seeds
from fuzz.targets import TARGETS

SLOW_S = 20.0
"""An input that takes longer is a finding."""


class Watch:
    """Runs a target, and counts inputs, findings by place, and the slowest input."""

    def __init__(self, target: str, folder: Path) -> None:
        self.target, self.folder, self.call = target, folder, TARGETS[target]
        self.began_s, self.num_inputs, self.slowest_s = time.perf_counter(), 0, 0.0
        self.places: collections.Counter[str] = collections.Counter()

    def run(self, content: bytes) -> None:
        """Run one input."""
        began_s, place = time.perf_counter(), ""
        try:
            self.call(content)
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            ours = [
                one
                for one in traceback.extract_tb(error.__traceback__)
                if "echoseg" in one.filename
            ]
            at = ours[-1] if ours else last
            place = f"{type(error).__name__} at {Path(at.filename).name}:{at.lineno}"
        spent_s = time.perf_counter() - began_s
        self.num_inputs += 1
        self.slowest_s = max(self.slowest_s, spent_s)
        place = place or (f"over {SLOW_S:g} s" if spent_s > SLOW_S else "")
        if place:
            self.places[place] += 1
            if self.places[place] <= 3:
                self.folder.mkdir(parents=True, exist_ok=True)
                name = hashlib.sha256(content).hexdigest()[:12]
                (self.folder / f"{self.target}-{name}").write_bytes(content)
                print(f"{self.target}: {place}: {name}", flush=True)

    def report(self) -> None:
        """Print the counts."""
        spent_s = time.perf_counter() - self.began_s
        print(
            f"{self.target}: {self.num_inputs} inputs, {self.num_inputs / spent_s:.1f} per second, "
            f"{sum(self.places.values())} findings in {len(self.places)} places, slowest "
            f"{self.slowest_s:.2f} s",
            flush=True,
        )


def _random(watch: Watch, seconds: float, first: int) -> None:
    known, number = list(seeds(watch.target).values()), first
    watch.call(known[0])  # imports
    watch.began_s = time.perf_counter()
    while time.perf_counter() - watch.began_s < seconds:
        watch.run(mutated(known, number))
        number += 1


def _atheris(watch: Watch, seconds: float) -> None:
    import atheris

    known = seeds(watch.target)
    with tempfile.TemporaryDirectory() as corpus:
        for name, content in known.items():
            (Path(corpus) / name).write_bytes(content)
        for module in [name for name in sys.modules if name.startswith(("echoseg", "fuzz.t"))]:
            del sys.modules[module]  # imported anew, instrumented
        with atheris.instrument_imports(include=["echoseg", "pydicom", "nibabel", "PIL"]):
            watch.call = importlib.import_module("fuzz.targets").TARGETS[watch.target]
            watch.call(next(iter(known.values())))

        def one(content: bytes) -> None:
            watch.run(content)
            if time.perf_counter() - watch.began_s > seconds:
                watch.report()
                sys.stdout.flush()
                os._exit(1 if watch.places else 0)  # libFuzzer would end with its own code

        watch.began_s = time.perf_counter()
        atheris.Setup([sys.argv[0], corpus, "-max_len=100000", "-timeout=120", "-verbosity=0",
                       "-rss_limit_mb=3000"], one)  # fmt: skip
        atheris.Fuzz()


def _each(arguments: argparse.Namespace) -> int:
    """All targets, each in a process of its own, one after another."""
    failed = 0
    for target in TARGETS:
        words = [sys.executable, "-m", "fuzz.run", target, "--engine", arguments.engine]
        words += ["--seconds", str(arguments.seconds / len(TARGETS))]
        words += ["--findings", str(arguments.findings), "--first", str(arguments.first)]
        failed |= subprocess.run(words, check=False).returncode != 0
    return int(failed)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("target", nargs="?", choices=TARGETS)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--engine", choices=("auto", "atheris", "random"), default="auto")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--first", type=int, default=0, help="Number of the first random input.")
    parser.add_argument("--input", type=Path, help="Run this input only, and show its traceback.")
    arguments = parser.parse_args()
    if arguments.engine == "auto":
        is_there = importlib.util.find_spec("atheris") is not None
        arguments.engine = "atheris" if is_there else "random"
        if not is_there:
            print("atheris is not installed (it has no wheel for every platform): random mutations")
    if arguments.target is None:
        sys.exit(_each(arguments))
    if arguments.input:
        TARGETS[arguments.target](arguments.input.read_bytes())
        return
    watch = Watch(arguments.target, arguments.findings)
    if arguments.engine == "atheris":
        _atheris(watch, arguments.seconds)
    else:
        _random(watch, arguments.seconds, arguments.first)
        watch.report()
    sys.exit(bool(watch.places))


if __name__ == "__main__":
    main()
