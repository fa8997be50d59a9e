"""Write `requirements.lock`: the run-time dependencies with the hashes of their files.

Usage: `python scripts/lock.py`, after every change of `constraints.txt`; needs `uv` and an index.

Left out are torch and what its builds for GPUs bring: there is one build per kind of machine, and
each index has its own. `constraints.txt` pins its version.
"""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
BUILD_DEPENDENT = re.compile(r"torch|triton|cuda-|nvidia-")
"""Beginnings of the names that are left out."""
HEADER = """\
# Written by scripts/lock.py. Install with:
#   pip install --require-hashes --no-deps -r requirements.lock
#   pip install -c constraints.txt echoseg
# torch is not here: it has one build per kind of machine.
"""


def main() -> None:
    """Resolve the dependencies by the constraints, and write the lock."""
    resolve = (
        "uv pip compile --universal --generate-hashes --no-header --no-annotate --quiet "
        "-c constraints.txt pyproject.toml"
    )
    text = subprocess.run(
        resolve.split(), cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    packages = re.findall(r"^\S.*\n(?:[ ]+--hash.*\n)+", text, re.MULTILINE)
    stable = [package for package in packages if not BUILD_DEPENDENT.match(package)]
    LOCK.write_text(HEADER + "".join(stable), "utf-8")
    print(f"{len(stable)} packages with hashes in {LOCK.name}")


if __name__ == "__main__":
    main()
