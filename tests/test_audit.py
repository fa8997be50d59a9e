"""The audit log: every change but a cut end shows, and a cut end shows against an anchor."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from echoseg.audit import START, AuditLog, Event
from echoseg.cli import app
from echoseg.errors import OutputError


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """A log of six records."""
    log = AuditLog(tmp_path_factory.mktemp("audit") / "audit.jsonl")
    for number in range(6):
        options = {"view": "A4C", "fps": 25.0, "note": 'a "quoted" } text'}
        log.append(Event(event="analyzed", input_sha256=f"{number:064x}", options=options))
    return log.path.read_bytes()


def log_of(folder, content):
    path = folder / "audit.jsonl"
    path.write_bytes(content)
    return AuditLog(path)


def problems(folder, content, anchor=""):
    return log_of(folder, content).verify(anchor).problems


def test_a_log_says_who_when_and_what(content, tmp_path):
    records = list(log_of(tmp_path, content).records())
    assert [record.sequence for record in records] == list(range(6))
    assert records[0].previous == START
    assert [r.previous for r in records[1:]] == [r.sha256 for r in records[:-1]]
    assert records[5].input_sha256 == f"{5:064x}" and records[5].options["view"] == "A4C"
    assert records[5].user and abs(records[5].time.timestamp() - time.time()) < 300
    result = log_of(tmp_path, content).verify(records[5].sha256)
    assert (result.records, result.torn, result.problems) == (6, 0, ())
    assert result.last_sha256 == records[5].sha256
    assert (log_of(tmp_path, content).path.stat().st_mode & 0o777) in (0o600, 0o644)


def test_every_flipped_bit_of_a_byte_shows(content, tmp_path):
    content = b"".join(content.splitlines(keepends=True)[:2])
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        assert problems(tmp_path, bytes(changed)), position


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_removed_added_or_moved_line_shows(content, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("lines")
    lines = content.splitlines(keepends=True)
    one, other = sorted(data.draw(st.sets(st.integers(0, 5), min_size=2, max_size=2)))
    swapped = list(lines)
    swapped[one], swapped[other] = swapped[other], swapped[one]
    added = [*lines[:other], lines[one], *lines[other:]]
    for changed in (lines[:one] + lines[one + 1 :], lines[other:], swapped, added):
        assert problems(folder, b"".join(changed)) or changed == lines[:one]


def test_a_cut_end_shows_against_an_anchor_only(content, tmp_path):
    lines = content.splitlines(keepends=True)
    anchor = json.loads(lines[-1])["sha256"]
    cut = b"".join(lines[:-2])
    assert problems(tmp_path, cut) == ()
    assert "the end was cut, or the log written anew" in problems(tmp_path, cut, anchor)[0]
    log_of(tmp_path, cut).append(Event(event="analyzed"))
    assert AuditLog(tmp_path / "audit.jsonl").verify(anchor).problems
    assert problems(tmp_path, content, json.loads(lines[2])["sha256"]) == ()  # an older anchor


def test_a_torn_line_differs_from_a_changed_one_and_the_log_goes_on(content, tmp_path):
    last = content.rindex(b"\n", 0, -1) + 1
    for length in range(last + 1, len(content)):
        log = log_of(tmp_path, content[:length])
        is_whole = length == len(content) - 1  # only the line break is missing
        result = log.verify()
        assert (result.problems, result.torn) == ((), 0 if is_whole else 1)
        if length % 25 == 0 or is_whole:
            log.append(Event(event="after"))
            result = log.verify()
            assert (result.problems, result.torn) == ((), 0 if is_whole else 1)
            assert result.records == (7 if is_whole else 6)
            more = log.path.read_bytes()
            log.path.write_bytes(more[:length] + b"\n" + more[length + 1 : -60])  # torn again
            log.append(Event(event="after"))
            assert log.verify().problems == ()
            changed = bytearray(log.path.read_bytes())
            changed[length - 1] ^= 1
            log.path.write_bytes(changed)
            assert log.verify().problems


def test_a_changed_end_is_not_written_over(content, tmp_path):
    for end in (content + b"nonsense\n", content[:-1] + b"x", content[:-3] + b"x\n"):
        log = log_of(tmp_path, end)
        with pytest.raises(OutputError, match=r"does not end in a record .*; move it elsewhere"):
            log.append(Event(event="analyzed"))
        assert log.path.read_bytes() == end


APPEND = """
import sys
from pathlib import Path
from echoseg.audit import AuditLog, Event

log = AuditLog(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    log.append(Event(event="analyzed", options={"who": sys.argv[3], "number": number}))
"""


def begin(path, number, name):
    return subprocess.Popen([sys.executable, "-c", APPEND, str(path), str(number), name])


@pytest.mark.timeout(120)
def test_several_processes_append_to_one_chain(tmp_path):
    path = tmp_path / "audit.jsonl"
    runs = [begin(path, 25, name) for name in "abc"]
    assert [run.wait() for run in runs] == [0, 0, 0]
    log = AuditLog(path)
    assert (log.verify().records, log.verify().problems) == (75, ())
    for name in "abc":
        numbers = [r.options["number"] for r in log.records() if r.options["who"] == name]
        assert numbers == list(range(25))


@pytest.mark.skipif(os.name == "nt", reason="no such signals")
@pytest.mark.timeout(120)
def test_a_process_killed_while_it_appends_breaks_nothing(tmp_path):
    path = tmp_path / "audit.jsonl"
    for number in range(3):
        before = path.stat().st_size if path.exists() else 0
        run = begin(path, 10**6, "k")
        while not path.exists() or path.stat().st_size < before + 5000:
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
        run.wait()
        assert AuditLog(path).verify().problems == (), number
    AuditLog(path).append(Event(event="after"))
    assert AuditLog(path).verify().problems == ()


def test_the_command_says_what_is_wrong_and_where(content, tmp_path):
    path = log_of(tmp_path, content).path
    done = CliRunner().invoke(app, ["audit", "verify", str(path)])
    last = json.loads(content.splitlines()[-1])["sha256"]
    assert done.exit_code == 0 and f"6 records, unbroken; last hash {last}" in done.output
    path.write_bytes(content.replace(b"A4C", b"A2C", 1))
    done = CliRunner().invoke(app, ["audit", "verify", str(path)])
    assert done.exit_code == 1 and "line 1 was changed or removed" in done.output
    done = CliRunner().invoke(app, ["audit", "verify", str(path), "--anchor", "0" * 64])
    assert done.exit_code == 1 and re.search("the end was cut", done.output)
    done = CliRunner().invoke(app, ["audit", "verify", str(tmp_path / "none")])
    assert done.exit_code == 2 and "is not a file" in done.stderr


def test_changed_lines_are_named_and_what_is_no_log_is_refused(tmp_path):
    log = AuditLog(tmp_path / "audit.jsonl")
    for _ in range(4):
        log.append(Event(event="analyzed"))
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join([lines[0], *(one.replace(b"0", b"1") for one in lines[1:])]))
    assert "lines 2 to 4 were changed" in log.verify().problems
    for content in (b"", b"hi\n", b"a,b\n1,2\n"):
        log.path.write_bytes(content)
        with pytest.raises(OutputError, match="must hold audit records, it has none"):
            log.verify()
