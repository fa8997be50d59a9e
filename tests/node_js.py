"""Runs the page's modules by node, where no browser is needed."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import echoseg.web

STATIC = Path(echoseg.web.__file__).parent / "static"


def run(module, code, value):
    """The JSON of what an expression makes of `value` with the module's functions as `m`."""
    node = shutil.which("node") or pytest.skip("needs node")
    script = (
        f"import * as m from {json.dumps((STATIC / module).as_uri())};"
        f"const v = {json.dumps(value)}; console.log(JSON.stringify({code}));"
    )
    done = subprocess.run(
        [node, "--input-type=module", "-"],
        input=script, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return json.loads(done.stdout)
