"""`echoseg node`: its settings, and the commands that look at its queue."""

import pytest
from typer.testing import CliRunner

from echoseg.cli import app
from echoseg.node.queue import Queue
from echoseg.node.settings import NodeSettings
from node_makers import instance

FOLDER = "--folder"


def invoke(*arguments):
    return CliRunner().invoke(app, ["node", *map(str, arguments)])


@pytest.fixture
def queue(tmp_path):
    one = Queue(NodeSettings(folder=tmp_path, quiet_s=0, max_attempts=1))
    yield one
    one.close()


def test_status_shows_states_and_reasons_and_retry_queues_again(queue, tmp_path):
    for number in (1, 2):
        queue.receive(f"study-{number}", f"1.9.{number}", instance(number))
    queue.complete_due()
    queue.fail(queue.claim("w"), "no memory")
    shown = invoke(FOLDER, tmp_path, "status")
    assert shown.exit_code == 0
    assert (
        "studies: 1 queued, 1 failed\nresults to send: none\ninstances: 2, 0.0 MB" in shown.output
    )
    assert "failed 1 instances" in shown.output and ": no memory" in shown.output
    failed = invoke(FOLDER, tmp_path, "status", "--state", "failed")
    assert "failed 1 instances" in failed.output and "queued 1 instances" not in failed.output
    assert "1 studies" in invoke(FOLDER, tmp_path, "retry").output
    assert "0 studies" in invoke(FOLDER, tmp_path, "retry", "study-1").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "any_peer (--any-peer)"),
        (["--push", "PACS", "status"], "AET@HOST:PORT"),
        (["status"], "there is no node in"),
        (["retry"], "there is no node in"),
        (["fetch", "--from", "PACS@127.0.0.1:104"], "a study UID, a patient ID or a date"),
        (["fetch", "--from", "PACS@127.0.0.1:104", "--date", "today"], "date"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_bad_settings_are_one_sentence(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_state_that_does_not_exist_is_refused(queue, tmp_path):
    result = invoke(FOLDER, tmp_path, "status", "--state", "lost")
    assert result.exit_code == 2 and "--state must be one of received" in result.output
