"""A whole node with a stub in place of the network; killed, stopped, and without its target."""

import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import node as bench
from echoseg.audit import AuditLog
from echoseg.errors import ConfigError, EchosegError, OutputError
from echoseg.node.deliveries import Deliveries
from echoseg.node.queue import Queue
from echoseg.node.records import State
from echoseg.node.serve import Node, run_node
from echoseg.node.settings import NodeSettings
from echoseg.node.worker import StudyWorker
from node_makers import Clock, instance

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.mark.slow
def test_kills_lose_nothing_and_nothing_is_analyzed_or_pushed_twice(tmp_path):
    outcome = bench.run_kills(tmp_path, studies=12, associations=4, kills=3, seed=1)
    assert outcome["instances"] == outcome["instances sent"]
    assert outcome["instances lost"] == outcome["studies without results"] == 0
    assert outcome["analyzed twice"] == 0
    # the ack of at most one object for each kill may have been lost
    assert outcome["objects that came more than once"] <= outcome["kills"]
    assert outcome["of these with other bytes"] == 0
    assert set(outcome["states at the end"]) == {"pushed"}
    assert outcome["audit problems"] == [] and outcome["exit code"] == 0


def test_no_log_or_table_holds_the_patient(tmp_path):
    pacs = bench.Pacs()
    settings = bench.settings_of(tmp_path / "node", bench.free_port(), pacs, 0.2)
    node = bench.NodeProcess(settings, tmp_path / "node.log")
    try:
        node.wait_until_listening()
        bench.send(settings["port"], bench.make_study(tmp_path / "clips", 7, 2))
        assert bench.wait_for(lambda: len(pacs.times) == 2, 60)
        assert node.terminate() < 30 and node.process.returncode == 0
    finally:
        node.process.kill()
        pacs.close()
    assert b"STUDY0007" not in (tmp_path / "node.log").read_bytes()
    names = [str(path) for path in (tmp_path / "node").rglob("*")]
    assert not any("STUDY" in name for name in names)
    log = AuditLog(tmp_path / "node" / "audit.jsonl")
    assert b"STUDY0007" not in log.path.read_bytes()
    events = [record.event for record in log.records()]
    assert sorted(events) == ["analyzed", "pushed", "pushed"]


@pytest.fixture
def worker(tmp_path, monkeypatch):
    settings = NodeSettings(folder=tmp_path, max_attempts=2, quiet_s=0)
    queue = Queue(settings, Clock())
    queue.receive("study-1", "1.2.3", instance())
    queue.complete_due()
    one = StudyWorker(settings, queue, analyze_by_name)
    yield one, queue
    one.close()
    queue.close()


def analyze_by_name(task):
    word = (task.folder / "word.txt").read_text()
    if word == "refuse":
        raise EchosegError("it is refused")
    if word == "crash":
        import os

        os._exit(3)
    raise ValueError("the name of a patient")


@pytest.mark.parametrize(
    ("word", "reason"),
    [("refuse", "it is refused"), ("crash", "exit code 3"), ("bug", "ValueError")],
)
def test_an_analysis_that_fails_is_tried_again_then_failed(worker, tmp_path, word, reason):
    one, queue = worker
    (tmp_path / "word.txt").write_text(word)
    assert one.step()
    (status,) = queue.studies()
    assert status.state == State.QUEUED and status.attempts == 1
    assert reason in status.reason and "patient" not in status.reason
    queue._clock.wait(10_000)
    assert one.step()
    assert queue.studies()[0].state == State.FAILED
    assert not one.step()


def test_a_stopped_worker_gives_its_study_back(worker, tmp_path):
    one, queue = worker
    (tmp_path / "word.txt").write_text("refuse")
    one.stop()
    assert not one.step()
    (status,) = queue.studies()
    assert status.state == State.QUEUED and status.attempts == 0


@pytest.mark.parametrize(("table", "method"), [(Queue, "finish"), (Deliveries, "pushed")])
def test_a_step_that_fails_strands_nothing(tmp_path, monkeypatch, table, method):
    """What a step had claimed when the database failed is not left for the next start."""
    original, calls = getattr(table, method), []

    def fails_once(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise OutputError("the database of the node cannot be used")
        return original(*arguments)

    monkeypatch.setattr(table, method, fails_once)
    pacs = bench.Pacs()
    settings = NodeSettings(**bench.settings_of(tmp_path / "node", 0, pacs, 0.0), min_free_gb=0)
    settings.folder.mkdir()
    stop = threading.Event()
    try:
        with Node(settings, stop, bench.analyze_stub) as node:
            bench.send(node.scp.port, bench.make_study(tmp_path / "clips", 1, 1))
            is_sent = bench.wait_for(lambda: node.queue.studies([State.PUSHED]), 60)
            states = node.queue.counts()
    finally:
        pacs.close()
    assert is_sent, states
    assert len(calls) > 1 and all(len(one) == 1 for one in pacs.contents.values())


def test_two_nodes_do_not_share_a_folder(tmp_path):
    from echoseg.files import locked_dir

    with locked_dir(tmp_path / "node"), pytest.raises(EchosegError, match="in use"):
        run_node(NodeSettings(folder=tmp_path / "node", port=0))


def test_a_login_that_is_missing_shows_before_anything_is_received(tmp_path):
    login = {"https://pacs.example/rs": {"env": "NO_SUCH_VARIABLE"}}
    with pytest.raises(ConfigError, match="NO_SUCH_VARIABLE"):
        run_node(NodeSettings(folder=tmp_path / "node", port=0, login=login))
    assert not (tmp_path / "node" / "node.sqlite").exists()
