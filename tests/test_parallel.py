"""Several processes: nobody waits for what nobody wants, and nothing half-written stays."""

import multiprocessing
import threading
import time

import pytest

from echoseg.errors import ConfigError, DatasetError
from echoseg.parallel import in_order


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
    names = [tmp_path / name for name in ("b", "c")]

    def end_one():
        while not any(name.exists() for name in names):
            time.sleep(0.05)
        multiprocessing.active_children()[0].terminate()

    threading.Thread(target=end_one, daemon=True).start()
    with pytest.raises(DatasetError, match="a process was ended from outside"):
        list(in_order(slow, names, jobs=2))
    assert list(tmp_path.iterdir()) == []


def slow_or_wrong(path):
    """Fail once the other works."""
    if path.name != "wrong":
        return slow(path)
    while not path.with_name("b").exists():
        time.sleep(0.05)
    raise ConfigError("no")


@pytest.mark.timeout(60)
def test_a_failure_ends_those_that_still_work(tmp_path):
    with pytest.raises(ConfigError, match="no"):
        list(in_order(slow_or_wrong, [tmp_path / name for name in ("wrong", "b", "c")], jobs=2))
    assert list(tmp_path.iterdir()) == []
    assert multiprocessing.active_children() == []


def test_an_answer_that_cannot_be_sent_is_an_error_and_not_the_end_of_a_process():
    with pytest.raises(RuntimeError, match="cannot be sent"):
        list(in_order(unsendable, [1, 2], jobs=2))


def unsendable(item):
    return lambda: item
