"""Files and rows of received instances: kills at every step, retention, files that are not ours."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from echoseg.node import classes, store
from echoseg.node.incoming import Incoming, Refused
from echoseg.node.jobs import Receipt
from echoseg.node.queue import Queue
from echoseg.node.records import State
from echoseg.node.settings import NodeSettings
from echoseg.node.store import Store
from echoseg.private import Pseudonyms
from node_makers import Clock, dataset, encoded


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def incoming(number=1, **elements):
    one = dataset(number, **elements)
    return Incoming(
        class_uid=one.SOPClassUID,
        instance_uid=one.SOPInstanceUID,
        transfer_syntax=str(one.file_meta.TransferSyntaxUID),
        sender="SCANNER",
        dataset=encoded(one),
    )


@pytest.fixture
def begin(tmp_path):
    queues = []

    def begin_store(clock=None, **options):
        settings = NodeSettings(folder=tmp_path, min_free_gb=0, quiet_s=0, **options)
        clock = clock or Clock()
        queues.append(Queue(settings, clock))
        return Store(settings, queues[-1], Pseudonyms(settings.key_file), clock), queues[-1]

    yield begin_store
    for queue in queues:
        queue.close()


def files(folder):
    return sorted((folder / "studies").glob("study-*/*.dcm"))


def test_a_kill_between_file_and_row_loses_nothing(begin, tmp_path, monkeypatch):
    held, queue = begin()

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(queue, "receive", killed)
        with pytest.raises(Killed):
            held.receive(incoming())
    assert len(files(tmp_path)) == 1
    again, queue = begin()
    assert (again.recover(), again.recover()) == (1, 0)
    assert again.receive(incoming()) == Receipt.DUPLICATE  # the sender had no answer: it resends
    assert len(files(tmp_path)) == queue.counts().instances == 1


def test_a_kill_between_row_and_answer_loses_nothing(begin, tmp_path):
    held, queue = begin()
    receive = queue.receive

    def received_then_killed(*arguments):
        receive(*arguments)
        raise Killed

    queue.receive = received_then_killed
    with pytest.raises(Killed):
        held.receive(incoming())
    again, queue = begin()
    assert again.recover() == 0
    assert again.receive(incoming()) == Receipt.DUPLICATE
    assert (len(files(tmp_path)), queue.studies()[0].revision) == (1, 1)


def test_a_kill_while_writing_leaves_no_instance(begin, tmp_path, monkeypatch):
    held, _ = begin()

    def killed(_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(store.os, "fsync", killed)
        with pytest.raises(Killed):
            held.receive(incoming())
    again, queue = begin()
    assert (again.recover(), files(tmp_path), queue.counts().instances) == (0, [], 0)


SENDER = """
import sys
from pathlib import Path
sys.path[:0] = ["tests"]
from node.test_store import incoming
from echoseg.node.queue import Queue
from echoseg.node.settings import NodeSettings
from echoseg.node.store import Store
from echoseg.private import Pseudonyms

settings = NodeSettings(folder=Path(sys.argv[1]), min_free_gb=0)
store = Store(settings, Queue(settings), Pseudonyms(settings.key_file))
store.recover()
for number in range(int(sys.argv[2]), 10_000):
    store.receive(incoming(number))
    print(number, flush=True)
"""


def test_after_real_kills_all_that_was_acknowledged_is_there(begin, tmp_path):
    acknowledged = 0
    for wait_for in (3, 7, 5):
        command = [sys.executable, "-c", SENDER, str(tmp_path), str(acknowledged)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        ) as one:
            for _ in range(wait_for):
                acknowledged = int(one.stdout.readline()) + 1
            os.kill(one.pid, signal.SIGKILL)
            rest = one.stdout.read().splitlines()  # printed before the kill
            acknowledged = int(rest[-1]) + 1 if rest else acknowledged
    held, queue = begin()
    held.recover()
    for number in range(acknowledged):
        row = queue.find(f"1.2.3.{number}")
        assert (tmp_path / row.path).read_bytes().endswith(bytes(range(32)))
    assert acknowledged <= queue.counts().instances <= acknowledged + 1
    assert len(files(tmp_path)) == queue.counts().instances


def sent(queue):
    queue.complete_due()
    assert queue.finish(queue.claim("w"), [])
    return queue.studies()[0].name


def test_only_sent_studies_are_removed_and_only_after_their_time(begin, tmp_path):
    clock = Clock()
    held, queue = begin(clock, retention_days=2, push=("PACS@127.0.0.1:104",))
    held.receive(incoming(1))
    clock.wait(86_400 * 9)
    assert held.remove_expired() == 0
    study = sent(queue)
    results = held.results_folder(study)
    results.mkdir(parents=True)
    clock.wait(86_400)
    assert held.remove_expired() == 0
    clock.wait(86_401)
    assert held.remove_expired() == 1
    assert (files(tmp_path), results.exists(), queue.counts().instances) == ([], False, 0)
    assert held.receive(incoming(1)) == Receipt.NEW


def test_a_removal_is_finished_after_a_kill(begin, tmp_path, monkeypatch):
    clock = Clock()
    held, queue = begin(clock, retention_days=0, push=("PACS@127.0.0.1:104",))
    held.receive(incoming(1))
    sent(queue)
    clock.wait(1)

    def killed(_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(queue, "remove", killed)
        with pytest.raises(Killed):
            held.remove_expired()
    assert held.recover() == 0
    assert (files(tmp_path), queue.counts().instances) == ([], 0)
    assert list((tmp_path / "studies").iterdir()) == []


def test_a_study_put_aside_that_was_not_sent_comes_back(begin, tmp_path):
    held, queue = begin()
    held.receive(incoming(1))
    (folder,) = (tmp_path / "studies").iterdir()
    folder.rename(folder.with_name(f".removed-{folder.name}"))
    assert held.recover() == 0
    assert len(files(tmp_path)) == queue.counts().instances == 1


def test_files_of_others_stay(begin, tmp_path):
    held, _ = begin()
    held.receive(incoming(1))
    (study,) = (tmp_path / "studies").iterdir()
    others = [study / "notes.txt", study / "0123456789abcdef.dcm", tmp_path / "studies" / "a"]
    for path in others:
        path.write_text("mine")
    assert held.recover() == 0
    assert all(path.read_text() == "mine" for path in others)


def test_a_new_key_of_names_loses_nothing(begin, tmp_path):
    held, _ = begin()
    held.receive(incoming(1))
    (tmp_path / "private.key").unlink()
    again, queue = begin()
    assert again.receive(incoming(1)) == Receipt.DUPLICATE
    assert again.receive(incoming(2)) == Receipt.NEW
    assert len(queue.studies()) == 1
    assert again.recover() == 0
    queue.complete_due()
    paths = [one.path for one in queue.claim("w").instances]
    assert all((tmp_path / path).is_file() for path in paths)
    assert queue.counts().studies[State.RUNNING] == 1


def test_a_file_is_taken_apart(begin, tmp_path):
    held, _ = begin()
    held.receive(incoming(1))
    content = files(tmp_path)[0].read_bytes()
    again = Incoming.from_file(content, "web")
    assert (again.instance_uid, again.sha256) == ("1.2.3.1", incoming(1).sha256)
    assert held.receive(again) == Receipt.DUPLICATE
    for wrong in (b"", content[4:], content[:140], content.replace(b"1.1.3.1\0", b"1.1.9.1\0")):
        with pytest.raises(Refused) as refusal:
            Incoming.from_file(wrong, "web")
        assert refusal.value.status == classes.UNREADABLE
