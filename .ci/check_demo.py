"""Check that a demo folder holds a report with an ejection fraction in it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path


def values_of(key: str, node: object) -> Iterator[object]:
    """Yield every value of `key` anywhere in a JSON tree."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from values_of(key, value)
    elif isinstance(node, list):
        for value in node:
            yield from values_of(key, value)


reports = sorted(Path(sys.argv[1]).rglob("report.json"))
if not reports:
    sys.exit(f"no report.json under {sys.argv[1]}")
for report in reports:
    found = list(values_of("ef_percent", json.loads(report.read_text("utf-8"))))
    if not any(isinstance(value, float) and 0 < value < 100 for value in found):
        sys.exit(f"{report} has no ef_percent between 0 and 100, got {found}")
    print(f"{report.name}: ef_percent {found[0]:.1f}")
