"""Several processes: nobody waits for what nobody wants, and nothing half-written stays."""

import time

import pytest

from echoseg.datasets.workers import in_order
from echoseg.errors import DatasetError


def slow(path):
    """Write, take a minute, and clean up however it ends."""
    if path.name == "first":
        return path
    try:
        path.write_text("half")
        time.sleep(60)
    finally:
        path.unlink()
    return path


def test_whoever_stops_early_does_not_wait_for_the_rest(tmp_path):
    names = [tmp_path / name for name in ("first", "b", "c", "d", "e", "f", "g")]
    results = in_order(slow, names, jobs=2)
    start = time.monotonic()
    assert next(results) == names[0]
    while not any(name.exists() for name in names):
        time.sleep(0.05)
    results.close()
    assert time.monotonic() - start < 30
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_is_told_to_end_ends_the_work(tmp_path):
    import multiprocessing
    import threading

    names = [tmp_path / name for name in ("b", "c")]

    def end_one():
        while not any(name.exists() for name in names):
            time.sleep(0.05)
        multiprocessing.active_children()[0].terminate()

    threading.Thread(target=end_one, daemon=True).start()
    with pytest.raises(DatasetError, match="a process was ended from outside"):
        list(in_order(slow, names, jobs=2))
    assert list(tmp_path.iterdir()) == []
