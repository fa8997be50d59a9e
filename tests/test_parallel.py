"""Several processes: nobody waits for what nobody wants, and nothing half-written stays."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from echoseg.errors import ConfigError, DatasetError
from echoseg.parallel import check_jobs, parallel_map


def slow(path):
    """Write, take a minute, and clean up however it ends."""
    if path.name == "first":
        return path
    try:
        path.write_text(str(os.getpid()))
        time.sleep(60)
    finally:
        path.unlink()
    return path


def test_whoever_stops_early_does_not_wait_for_the_rest(tmp_path):
    names = [tmp_path / name for name in ("first", "b", "c", "d", "e", "f", "g")]
    results = parallel_map(slow, names, jobs=2)
    start = time.monotonic()
    assert next(results) == names[0]
    while not any(name.exists() for name in names):
        time.sleep(0.05)
    results.close()
    assert time.monotonic() - start < 30
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.timeout(60)
def test_a_worker_that_is_killed_is_one_sentence(tmp_path, number):
    names = [tmp_path / name for name in ("b", "c")]

    def end_one():
        while not all(name.exists() and name.read_text() for name in names):
            time.sleep(0.05)
        os.kill(int(names[1].read_text()), number)

    threading.Thread(target=end_one, daemon=True).start()
    with pytest.raises(DatasetError, match=r"a worker process was killed, .*; use fewer jobs"):
        list(parallel_map(slow, names, jobs=2))
    if number == signal.SIGTERM:  # a killed process cannot clean up
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
        list(parallel_map(slow_or_wrong, [tmp_path / name for name in ("wrong", "b", "c")], jobs=2))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(60)
def test_a_result_that_cannot_be_pickled_is_an_error():
    with pytest.raises(TypeError, match="cannot pickle"):
        list(parallel_map(unpicklable, [1, 2], jobs=2))


def unpicklable(item):
    return threading.Lock()


def half(number):
    time.sleep(0.02 * (number % 3))
    if number == 40:
        raise ConfigError("40 is too large")
    return number / 2


@pytest.mark.timeout(60)
def test_results_come_in_order_up_to_the_first_failure_for_any_number_of_processes():
    for jobs in (1, 2):
        assert list(parallel_map(half, range(20), jobs)) == [n / 2 for n in range(20)]
        results = []
        with pytest.raises(ConfigError, match="40 is too large"):
            for result in parallel_map(half, range(50), jobs):
                results.append(result)
        assert results == [n / 2 for n in range(40)]


def test_jobs_are_at_least_one_and_at_most_the_cpus():
    assert check_jobs(10**6) == os.cpu_count()
    with pytest.raises(ConfigError, match="jobs must be at least 1, got 0"):
        check_jobs(0)


@pytest.mark.timeout(60)
def test_few_results_wait_to_be_taken(tmp_path):
    results = parallel_map(Path.touch, [tmp_path / str(n) for n in range(50)], jobs=2)
    next(results)
    time.sleep(0.5)
    assert len(list(tmp_path.iterdir())) <= 2 * 2 + 2
    results.close()
