"""Several processes: nobody waits for what nobody wants, and nothing half-written stays."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from echoseg.errors import ConfigError, DatasetError
from echoseg.parallel import Limits, WorkerPool, check_jobs, parallel_map
from misbehave import misbehave
from worklist_makers import processes


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


LOSSES = {
    "hang": ("timeout", "it took longer than 4 s"),
    "hang-in-C": ("timeout", "it took longer than 4 s"),
    "grow": ("memory", "it used more than 0.3 GB of memory"),
    "segfault": ("crash", "its process crashed (SIGSEGV)"),
    "exit": ("crash", "its process ended with exit code 3"),
    "kill": ("killed", "its process was killed, as happens when memory runs out"),
    "leave-a-child": ("crash", "its process ended with exit code 4"),
}


@pytest.mark.skipif(os.name == "nt", reason="no such signals")
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.timeout(90)
def test_an_item_that_ends_its_process_takes_no_other_with_it(jobs):
    items = ["fine", *LOSSES, "good"]
    outcomes = list(
        parallel_map(
            misbehave,
            items,
            jobs,
            limits=Limits(timeout_s=4, memory_gb=0.3),
            on_loss=lambda item, loss: (loss.kind, loss.reason),
        )
    )
    assert outcomes == [LOSSES.get(what, what) for what in items]


@pytest.mark.timeout(60)
def test_a_worker_is_prepared_before_its_first_item_outside_the_limits(tmp_path):
    limits = Limits(timeout_s=0.5)
    results = parallel_map(
        os.path.exists, [tmp_path / "ready"] * 3, limits=limits, prepare=SlowStart(tmp_path)
    )
    assert list(results) == [True] * 3
    with pytest.raises(ConfigError, match="no model"):
        list(parallel_map(half, range(3), limits=limits, prepare=no_model))
    with pytest.raises(DatasetError, match=r"end before they begin to work: .* exit code 5"):
        list(parallel_map(half, range(3), limits=limits, prepare=partial(os._exit, 5)))


@dataclass
class SlowStart:
    folder: Path

    def __call__(self):
        time.sleep(1)
        (self.folder / "ready").touch()


def no_model():
    raise ConfigError("no model")


def test_a_worker_that_cannot_prepare_is_not_left_behind():
    pool = WorkerPool(half, 1, prepare=no_model)
    for _ in range(3):
        with pytest.raises(ConfigError, match="no model"):
            pool.submit(1).result()
    assert not processes("parallel.serve")
    pool.close(is_finished=True)


@pytest.mark.timeout(60)
def test_the_time_that_this_process_was_stopped_does_not_count(monkeypatch):
    """As by Ctrl-Z, or a machine that sleeps: the watcher sees a jump of its clock."""
    from echoseg.parallel import worker

    jumps = iter([0.0] * 5)
    plain = time.monotonic
    monkeypatch.setattr(worker.time, "monotonic", lambda: plain() + next(jumps, 3600.0))
    assert list(parallel_map(half, [1, 2], limits=Limits(timeout_s=5))) == [0.5, 1.0]


@pytest.mark.skipif(os.name == "nt", reason="no such signals")
@pytest.mark.timeout(60)
def test_a_worker_killed_between_two_items_costs_none():
    results = parallel_map(process_number, range(8), limits=Limits())
    first = next(results)
    time.sleep(1)  # two more items are done, and nothing is asked for
    os.kill(first, signal.SIGKILL)
    time.sleep(1)
    numbers = [first, *results]
    assert len(numbers) == 8 and len(set(numbers)) == 2


def process_number(item):
    return os.getpid()


SCRIPT = """
import os, sys, time
from pathlib import Path
from echoseg.parallel import Limits, parallel_map

def work(name):  # of this script: sent by value, and the script is not run again
    Path(name).write_text(str(os.getpid()))
    time.sleep(60)

list(parallel_map(work, sys.argv[1:], jobs=2, limits=Limits()))
"""


@pytest.mark.skipif(os.name == "nt", reason="no such signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.timeout(60)
def test_workers_end_with_their_parent(tmp_path, number):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    names = [tmp_path / "b", tmp_path / "c"]
    command = [sys.executable, str(script), *map(str, names)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as parent:
        while not all(name.exists() and name.read_text() for name in names):
            time.sleep(0.05)
        parent.send_signal(number)
        parent.wait()
    for name in names:
        while Path(f"/proc/{name.read_text()}").exists():
            time.sleep(0.05)
