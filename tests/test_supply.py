"""The lock with hashes, and the report of known advisories."""

import re
import runpy
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
AUDIT = runpy.run_path(str(ROOT / "scripts" / "audit_dependencies.py"))
BUILD_DEPENDENT = runpy.run_path(str(ROOT / "scripts" / "lock.py"))["BUILD_DEPENDENT"]
PINS = re.compile(r"^(\S+)==(\S+)")


def locked() -> dict[str, set[str]]:
    """Versions by name."""
    versions: dict[str, set[str]] = {}
    for line in (ROOT / "requirements.lock").read_text("utf-8").splitlines():
        if match := PINS.match(line):
            versions.setdefault(match[1], set()).add(match[2])
    return versions


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def run_time_dependencies() -> set[str]:
    """What `pip install echoseg` brings into this environment, torch's own left out."""
    found: set[str] = set()
    left = ["echoseg"]
    while left:
        for text in requires(left.pop()) or ():
            one = Requirement(text)
            name = canonical(one.name)
            is_meant = one.marker is None or one.marker.evaluate({"extra": ""})
            if is_meant and name not in found and not BUILD_DEPENDENT.match(name):
                found.add(name)
                left.append(one.name)
    return found


def test_lock_holds_every_run_time_dependency_at_the_tested_version() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {canonical(m[1]): m[2] for line in lines if (m := PINS.match(line))}
    versions = locked()
    names = run_time_dependencies()
    assert {"numpy", "pydicom", "av", "pillow"} <= names
    for name in names:
        assert name in versions, f"{name} is not locked: run scripts/lock.py"
        if name in pinned:
            assert versions[name] == {pinned[name]}, f"{name}: run scripts/lock.py"
            assert version(name) == pinned[name]


def test_every_locked_file_has_a_hash_and_torch_is_left_out() -> None:
    text = (ROOT / "requirements.lock").read_text("utf-8")
    packages = re.split(r"^(?=\S+==)", text, flags=re.MULTILINE)[1:]
    for package in packages:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", package), package
        assert not BUILD_DEPENDENT.match(package)
    audited = AUDIT["requirements"]().splitlines()
    assert len(audited) == len(packages) + 1
    assert audited[-1].startswith("torch==")  # audited all the same


@pytest.mark.parametrize(
    ("packages", "status", "words"),
    [
        ([{"name": "av", "skip_reason": "not found"}], 0, "NOT AUDITED"),
        ([{"name": "av", "version": "1", "vulns": []}], 0, "1 packages audited, 0 advisories"),
        (
            [
                {
                    "name": "av",
                    "version": "1",
                    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2", "3"]}],
                },
                {"name": "nibabel", "skip_reason": "not found"},
            ],
            1,
            "av 1: PYSEC-1, mended in 2, 3",
        ),
    ],
)
def test_audit_fails_on_an_advisory_and_says_what_was_not_audited(
    packages: list[dict], status: int, words: str
) -> None:
    text, exit_status = AUDIT["report"](packages)
    assert exit_status == status
    assert words in text
    assert ("nibabel" in text) == (len(packages) == 2)
