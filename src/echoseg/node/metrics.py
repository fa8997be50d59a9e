"""Metrics of a node as text for Prometheus (exposition format 0.0.4)."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import psutil

from echoseg.node.jobs import Counts

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def metrics_text(counts: Counts, now_s: float | None = None) -> str:
    """The numbers of a node, one per line.

    Args:
        counts: Its numbers.
        now_s: Seconds since 1970; by default now.
    """
    waits_since = counts.oldest_waiting_s
    now_s = time.time() if now_s is None else now_s
    waiting_s = 0.0 if waits_since is None else max(0.0, now_s - waits_since)
    lines = [
        *_family("studies", "gauge", "Studies by state.", counts.studies),
        *_family("deliveries", "gauge", "Results on their way to a target, by state.",
                 counts.deliveries),
        *_single("instances", "Received instances that are kept.", counts.instances),
        *_single("received_bytes", "Bytes of received instances that are kept.", counts.num_bytes),
        *_single("oldest_waiting_seconds", "Age of the study that waits longest.", waiting_s),
        *_single("resident_bytes", "Memory of the process.", psutil.Process().memory_info().rss),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _family(name: str, kind: str, about: str, values: Mapping[Any, int]) -> Iterator[str]:
    yield f"# HELP echoseg_node_{name} {about}"
    yield f"# TYPE echoseg_node_{name} {kind}"
    for state, value in values.items():
        yield f'echoseg_node_{name}{{state="{state}"}} {value}'


def _single(name: str, about: str, value: float) -> Iterator[str]:
    yield f"# HELP echoseg_node_{name} {about}"
    yield f"# TYPE echoseg_node_{name} gauge"
    yield f"echoseg_node_{name} {value}"
