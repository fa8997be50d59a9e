"""Conformance statement, unit, container and settings of `deploy` say what the code does."""

import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

from echoseg.node.settings import read_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def test_the_conformance_statement_is_that_of_the_code():
    script = runpy.run_path(str(ROOT / "scripts" / "conformance.py"))
    assert script["PAGE"].read_text("utf-8") == script["page"]()


def test_the_settings_are_valid():
    settings = read_settings(DEPLOY / "node.toml")
    assert settings.allowed_peers
    assert not settings.any_peer


def test_the_container_runs_without_root_and_is_pinned():
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    words = [line.split() for line in lines if line and not line.startswith("#")]
    bases = [one[1] for one in words if one[0] == "FROM"]
    assert all(":" in base and not base.endswith(":latest") for base in bases)  # DL3006, DL3007
    last = bases and max(at for at, one in enumerate(words) if one[0] == "FROM")
    assert [one[1] for one in words[last:] if one[0] == "USER"] == ["10001"]  # DL3002
    assert all(one[1].startswith("[") for one in words if one[0] in ("CMD", "ENTRYPOINT"))  # DL3025
    assert not any(one[0] == "ADD" for one in words)  # DL3020
    assert "--no-cache-dir" in " ".join(lines)  # DL3042


def test_systemd_takes_the_unit(tmp_path):
    program = shutil.which("systemd-analyze") or pytest.skip("needs systemd-analyze")
    text = (DEPLOY / "echoseg-node.service").read_text()
    unit = tmp_path / "echoseg-node.service"
    unit.write_text(text.replace("/opt/echoseg/bin/echoseg", "/bin/true"))
    done = subprocess.run([program, "verify", unit], capture_output=True, text=True, timeout=60)
    ours = [line for line in done.stderr.splitlines() if "echoseg-node" in line]
    assert ours == []
