"""Shards of a cohort: together they are one run, whoever runs them and in which order."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cohort_stub
from cohort_stub import StubWork, run, write_clips
from echoseg.audit import AuditLog
from echoseg.cli import app
from echoseg.errors import ConfigError, OutputError
from echoseg.files import locked_dir
from echoseg.report import cohort
from echoseg.report.cohort import Shard
from echoseg.report.cohort.manage import mark_for_retry, merge, read_status
from echoseg.report.cohort.shard import running_shards

TABLES = ("results.csv", "failures.csv", "not_clips.csv")
WORDS = ("a", "b", "broken", "c", "d", "e", "f", "g", "h", "i")


@pytest.fixture(autouse=True)
def _stub(monkeypatch):
    monkeypatch.setattr(cohort, "Work", StubWork)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """Clips, some of one stem, and the tables of one run that was left alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cohort, "Work", StubWork)
        root = write_clips(tmp_path_factory.mktemp("quiet") / "clips", *WORDS)
        write_clips(root / "a", "b", "c")  # of the same result folders as others
        (root / "a_b.avi").write_text("ok ok")
        (root / "notes").write_text("not a clip")
        out = root.parent / "out"
        run(root, out, limits=None)
        return root, [(out / name).read_bytes() for name in TABLES]


def tables(out):
    return [(out / name).read_bytes() for name in TABLES]


def shards(count):
    return [Shard(index=index, count=count) for index in range(1, count + 1)]


def test_every_clip_is_of_one_shard_whatever_else_there_is():
    names = [f"patient {n}/clip.dcm" for n in range(2000)]
    parts = [[name for name in names if one.owns(name)] for one in shards(7)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert 230 < min(map(len, parts)) and max(map(len, parts)) < 340  # 286 +- 16 expected
    # the rule is part of the format: shards of two versions may not overlap
    assert [n for n in range(12) if Shard(index=1, count=3).owns(f"{n}.avi")] == [0, 6]


@pytest.mark.parametrize(
    "text", ["0/3", "4/3", "1", "1/0", "a/b", "-1/3", "1/3/5", "1/9999999", ""]
)
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(ConfigError, match="--shard must be I/N"):
        Shard.parse(text)


def test_shards_in_any_order_and_merged_are_one_run(quiet, tmp_path):
    root, expected = quiet
    out = tmp_path / "out"
    for shard in reversed(shards(4)):
        run(root, out, limits=None, shard=shard)
        assert not (out / "results.csv").exists()
    outcome, pending = merge(out)
    assert (outcome.clips, outcome.failed, outcome.others, pending) == (13, 1, 1, 0)
    assert tables(out) == expected
    logs = [Shard(index=n, count=4).audit_log(out) for n in range(1, 5)]
    logs = [log for log in logs if log.exists()]
    assert sum(len(list(AuditLog(log).records())) for log in logs) == 13
    assert not any(AuditLog(log).verify().problems for log in logs)
    own = list(AuditLog(out / "audit.jsonl").records())
    assert [record.event for record in own] == ["shard"] * len(logs) + ["tables"]
    merge(out)  # again: nothing new of the shards
    assert [r.event for r in AuditLog(out / "audit.jsonl").records()][-2:] == ["tables", "tables"]
    # a merged cohort is a cohort: it goes on without shards
    (root.parent / "tries.txt").unlink(missing_ok=True)
    run(root, out, limits=None, resume=True)
    assert tables(out) == expected


def test_a_merge_before_the_end_says_what_is_missing(quiet, tmp_path):
    root, expected = quiet
    out = tmp_path / "out"
    run(root, out, limits=None, shard=Shard(index=1, count=2))
    outcome, pending = merge(out)
    assert pending == outcome.clips - read_status(out).done - sum(read_status(out).failed.values())
    assert 0 < pending < 13
    done = CliRunner().invoke(app, ["cohort", "merge", str(out)])
    assert done.exit_code == 1 and "run the shards of pending clips again" in done.output
    failed = outcome.failed - pending
    rest = f"failed: {failed}, pending: {pending})" if failed else f"pending: {pending})"
    assert rest in done.output
    run(root, out, limits=None, shard=Shard(index=2, count=2))
    assert merge(out)[1] == 0 and tables(out) == expected


def test_another_number_of_shards_does_what_is_left(quiet, tmp_path):
    root, expected = quiet
    out = tmp_path / "out"
    run(root, out, limits=None, shard=Shard(index=1, count=2))
    for shard in shards(3):
        run(root, out, limits=None, shard=shard)
    merge(out)
    assert tables(out) == expected
    tries = (out.parent / "tries.txt").read_text().split()
    assert len(tries) == len(set(tries)) == 13


def test_runs_that_would_do_the_same_clips_are_refused(quiet, tmp_path):
    root, _ = quiet
    out = tmp_path / "out"
    run(root, out, limits=None, shard=Shard(index=1, count=2))
    with Shard(index=2, count=2).locked(out):
        assert running_shards(out) == ["2-of-2"] and read_status(out).running == ("2-of-2",)
        for options in ({"resume": True}, {"shard": Shard(index=1, count=3)}):
            with pytest.raises(OutputError, match="in use by shard 2-of-2"):
                run(root, out, limits=None, **options)
        with pytest.raises(OutputError, match="is in use by another process"):
            run(root, out, limits=None, shard=Shard(index=2, count=2))
        for command in (merge, mark_for_retry):
            with pytest.raises(OutputError, match="in use by shard 2-of-2"):
                command(out)
        run(root, out, limits=None, shard=Shard(index=1, count=2))  # another part goes on
    assert running_shards(out) == []


def test_a_shard_waits_while_another_begins_and_not_for_a_whole_run(quiet, tmp_path, monkeypatch):
    root, _ = quiet
    monkeypatch.setattr(cohort, "SHARD_WAIT_S", 0.2)
    with locked_dir(tmp_path / "out"):
        with pytest.raises(OutputError, match="is in use by another process"):
            run(root, tmp_path / "out", limits=None, shard=Shard(index=1, count=2))


def test_shards_of_other_settings_are_refused(quiet, tmp_path):
    root, _ = quiet
    out = tmp_path / "out"
    run(root, out, limits=None, shard=Shard(index=1, count=2))
    other = cohort_stub.SETTINGS.model_copy(update={"pages": True})
    options = cohort.RunOptions(shard=Shard(index=2, count=2), limits=None)
    with pytest.raises(ConfigError, match="was started with pages=False"):
        cohort.run_cohort(cohort.find_clips([root], out), other, out, options)


def test_local_processes_as_a_slurm_array_would_start_them(quiet, tmp_path):
    root, expected = quiet
    out = tmp_path / "out"
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); import cohort_stub; cohort_stub.main()"
    tests = str(Path(cohort_stub.__file__).parent)
    words = [
        "analyze",
        str(root),
        "-o",
        str(out),
        "--model",
        "phantom",
        "--no-pages",
        "--jobs",
        "1",
    ]
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code, tests, *words, "--shard", f"{n}/3"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for n in (1, 2, 3)
    ]  # fmt: skip
    ends = [one.communicate(timeout=240) for one in runs]
    assert sorted(one.returncode for one in runs) == [0, 0, 1], ends
    assert all(f"echoseg cohort merge {out}" in text for text, _ in ends)
    done = CliRunner().invoke(app, ["cohort", "merge", str(out)])
    assert done.exit_code == 1 and "failed: 1" in done.output, done.output
    assert tables(out) == expected


def test_a_manifest_cannot_lead_out_of_its_folder(quiet, tmp_path):
    root, _ = quiet
    out = tmp_path / "out"
    run(root, out, limits=None, shard=Shard(index=1, count=2))
    text = (out / "manifest.json").read_text()
    for name in ("../a", "/etc", "..", "", "a/b", ".begun", "a\\b", "a\0"):
        manifest = json.loads(text)
        manifest["entries"][0]["name"] = name
        (out / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(OutputError, match=r"manifest\.json cannot be read"):
            read_status(out)


def test_study_and_dicom_do_not_go_with_shards(tmp_path):
    for words, text in (
        (["--study", str(tmp_path), "--shard", "1/2"], "--shard does not apply to --study"),
        ([str(tmp_path), "--shard", "1/2", "--dicom"], "--dicom does not apply to --shard"),
    ):
        done = CliRunner().invoke(app, ["analyze", *words, "-o", str(tmp_path / "out")])
        assert done.exit_code == 2 and text in done.stderr, done.output
