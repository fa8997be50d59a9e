"""The scripts start as their descriptions say, where Python does not know the checkout."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OF_THE_CHECKOUT = re.compile(r"^(?:from|import) (?:experiments|scripts|fuzz|tests)\b", re.MULTILINE)
SCRIPTS = [
    path.relative_to(ROOT).as_posix()
    for folder in ("scripts", "benchmarks")
    for path in sorted((ROOT / folder).glob("*.py"))
    if OF_THE_CHECKOUT.search(path.read_text("utf-8"))
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_that_imports_from_the_checkout_starts(script):
    words = [script] if f"python {script}" in (ROOT / script).read_text("utf-8") else []
    words = words or ["-m", script.removesuffix(".py").replace("/", ".")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *words, "--help"], cwd=ROOT, env=environment, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout.lower()
