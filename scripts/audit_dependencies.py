"""Look up `requirements.lock` and torch in the advisories for Python packages, by pip-audit.

Usage: `python scripts/audit_dependencies.py`; exit status 1 where a version has an advisory.
Where no advisories can be reached, it prints so: nothing was audited then.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[1]


def requirements() -> str:
    """The pinned packages, torch included, without hashes."""
    pins = re.findall(r"^\S+==\S+(?: ;.*?)?(?= \\$)", _read("requirements.lock"), re.MULTILINE)
    return "\n".join([*pins, *re.findall(r"^torch==.*", _read("constraints.txt"), re.MULTILINE)])


def _read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def report(packages: list[dict[str, Any]]) -> tuple[str, int]:
    """What pip-audit found, in a few lines, and the exit status.

    Args:
        packages: `dependencies` of its JSON.
    """
    lines = [
        f"{package['name']} {package['version']}: {advisory['id']}, mended in "
        f"{', '.join(advisory['fix_versions']) or 'no release yet'}"
        for package in packages
        for advisory in package.get("vulns", [])
    ]
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    num_audited = len(packages) - len(unknown)
    if not num_audited:
        return "NOT AUDITED: no advisories can be reached from here", 0
    missing = f"; not found: {', '.join(unknown)}" if unknown else ""
    summary = f"{num_audited} packages audited, {len(lines)} advisories{missing}"
    return "\n".join([*lines, summary]), int(bool(lines))


def main() -> int:
    """Audit, print, and return the exit status."""
    with TemporaryDirectory() as folder:
        pins = Path(folder) / "pins.txt"
        pins.write_text(requirements(), "utf-8")
        command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "-f", "json"]
        run = subprocess.run([*command, "-r", str(pins)], capture_output=True, text=True)
    try:
        text, status = report(json.loads(run.stdout)["dependencies"])
    except (ValueError, KeyError):
        text, status = f"NOT AUDITED: {(run.stderr.strip() or 'no answer').splitlines()[-1]}", 0
    print(text)
    return status


if __name__ == "__main__":
    sys.exit(main())
