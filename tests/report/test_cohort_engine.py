"""A cohort on a Dask cluster of local processes ends as one that was left alone in one process."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from typer.testing import CliRunner

import cohort_stub
from cohort_stub import StubWork, reasons, run, write_clips
from echoseg.audit import AuditLog
from echoseg.cli import app
from echoseg.errors import ConfigError, OutputError
from echoseg.io.formats import source_sha256
from echoseg.parallel import Limits
from echoseg.report import cohort
from echoseg.report.cohort.engine import Task, close_pools, do_entry
from echoseg.report.cohort.folder import Begun, Engine, begun_path
from echoseg.report.cohort.manage import read_cohort
from echoseg.report.cohort.work import Work

distributed = pytest.importorskip("distributed", reason="the extra cluster is not installed")

TABLES = ("results.csv", "failures.csv", "not_clips.csv")
WORDS = ("a", "b", "broken", "c", "d", "e", "segfault", "f", "g")
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _stub(monkeypatch):
    monkeypatch.setattr(cohort, "Work", StubWork)


@pytest.fixture(scope="module")
def cluster():
    """A scheduler and two workers, each a process; its address and the workers."""
    paths = [str(Path(cohort_stub.__file__).parent), str(ROOT / "src"), str(ROOT)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}

    def start(program, *words):
        module = f"distributed.cli.dask_{program}"
        words = [sys.executable, "-m", module, *words, "--no-dashboard"]
        return psutil.Popen(
            words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    head = start("scheduler", "--host", "127.0.0.1", "--port", "0")
    assert head.stderr is not None
    address = next(line.split()[-1] for line in head.stderr if "Scheduler at:" in line)
    workers = [start("worker", address, "--no-nanny", "--nthreads", "1") for _ in range(2)]
    yield address, workers
    for process in (*workers, head):
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cohort, "Work", StubWork)
        root = write_clips(tmp_path_factory.mktemp("quiet") / "clips", *WORDS)
        run(root, root.parent / "out", limits=Limits(), jobs=1)
    return root, [(root.parent / "out" / name).read_bytes() for name in TABLES]


def tables(out):
    return [(out / name).read_bytes() for name in TABLES]


def test_a_cluster_gives_the_tables_of_one_process_and_goes_on_after_a_lost_worker(
    cluster, quiet, tmp_path
):
    address, workers = cluster
    root, expected = quiet
    out, seen, orphans = tmp_path / "out", [], []

    def kill_one(done, total):
        seen.append(done)
        if done == 3:
            orphans.extend(workers[0].children())
            workers[0].kill()
        if done == 9:
            _, alive = psutil.wait_procs(orphans, timeout=60)
            assert not alive
            for note in (begun_path(out, entry) for entry in read_cohort(out).entries):
                Begun().write(note)  # as an orphan that had not heard of the clip's end

    engine = Engine(scheduler=address, timeout_s=60)
    options = cohort.RunOptions(engine=engine)
    cohort.run_cohort(cohort.find_clips([root]), cohort_stub.SETTINGS, out, options, kill_one)
    assert seen == list(range(10))
    if "killed" in json.dumps(reasons(out)):  # the clip that the worker held
        run(root, out, engine=engine, resume=True)
    assert tables(out) == expected
    log = AuditLog(out / "audit.jsonl")
    assert not log.verify().problems and not list(out.glob(".begun/*"))
    assert len({r.result_sha256 for r in log.records() if r.event != "tables"}) == 9
    # one folder, one resume: a local run has nothing left to do, and the reverse
    (tmp_path / "tries.txt").unlink()
    run(root, out, limits=Limits(), resume=True)
    run(root, out, engine=Engine(scheduler=address), resume=True)
    assert not (tmp_path / "tries.txt").exists() and tables(out) == expected


def test_what_ends_a_run_on_a_machine_ends_the_run(cluster, quiet, tmp_path):
    root, _ = quiet

    class NoModel(StubWork):
        def prepare(self):
            raise OutputError("the model does not load")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cohort, "Work", NoModel)
        with pytest.raises(OutputError, match="the model does not load"):
            run(root, tmp_path / "out", engine=Engine(scheduler=cluster[0]))


def test_a_folder_that_is_another_elsewhere_is_refused(quiet, tmp_path):
    root, _ = quiet
    run(root, tmp_path / "out", limits=Limits())
    held = cohort.Cohort.model_validate_json((tmp_path / "out" / "manifest.json").read_text())
    work = Work(
        settings=held.settings, out=tmp_path / "out", options=cohort.RunOptions(engine=Engine())
    )
    task = Task.of(work)
    for text in ("another", None):
        (tmp_path / "out" / "manifest.json").unlink()
        if text:
            (tmp_path / "out" / "manifest.json").write_text(text)
        with pytest.raises(OutputError, match="is not the output folder of this run"):
            do_entry(task, held.entries[0], 1)
        (tmp_path / "out" / "manifest.json").touch()
    close_pools()


def test_other_machines_get_whole_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.safetensors").touch()
    settings = cohort_stub.SETTINGS.model_copy(update={"model": "net.safetensors"})
    options = cohort.RunOptions(engine=Engine())
    task = Task.of(Work(settings=settings, out=Path("out"), options=options))
    assert task.work.out == tmp_path / "out"
    assert task.work.settings.model == str(tmp_path / "net.safetensors")
    named = Work(settings=cohort_stub.SETTINGS, out=Path("out"), options=options)
    assert Task.of(named).work.settings.model == "phantom"


def test_a_clip_that_two_machines_did_has_one_result(quiet, tmp_path):
    """One was taken for lost, lived on, and wrote its result first."""
    root, expected = quiet
    out = tmp_path / "out"
    run(root, out, limits=Limits())
    held = cohort.Cohort.model_validate_json((out / "manifest.json").read_text())
    entry = held.entries[0].model_copy(update={"source": root / "a.avi"})
    assert entry.clip == "a.avi"
    StubWork(settings=held.settings, out=out, options=cohort.RunOptions(), logs=False)(entry)
    assert not (out / "failures" / "a.json").exists()
    run(root, out, limits=Limits(), resume=True)
    assert tables(out) == expected


def test_a_result_that_came_between_check_and_rename_counts(quiet, tmp_path, monkeypatch):
    root, _ = quiet
    out = tmp_path / "out"
    run(root, out, limits=Limits())
    held = cohort.Cohort.model_validate_json((out / "manifest.json").read_text())
    entry = held.entries[0].model_copy(update={"source": root / "a.avi"})
    sha256 = source_sha256(entry.source)
    work = Work(settings=held.settings, out=out, options=cohort.RunOptions(), logs=False)

    def taken(*_args, **_options):
        raise OutputError("it cannot be written (Directory not empty)") from OSError(39, "")

    clip = SimpleNamespace(clip=SimpleNamespace(source_sha256=sha256))
    monkeypatch.setattr("echoseg.report.cohort.work.analyze_entry", lambda *_: clip)
    monkeypatch.setattr("echoseg.report.writer.write_results", taken)
    assert work._analyze(entry, sha256) is None
    shutil.rmtree(out / entry.name)
    with pytest.raises(OutputError, match="cannot be written"):
        work._analyze(entry, sha256)


def test_refusals_name_the_way(quiet, tmp_path, monkeypatch):
    root, _ = quiet
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)

    def call(*words):
        done = CliRunner().invoke(app, ["analyze", str(root), "-o", str(tmp_path / "o"), *words])
        assert done.exit_code == 2 and not (tmp_path / "o" / "results.csv").exists()
        return done.stderr

    assert "--engine must be dask, got ray" in call("--engine", "ray")
    assert "--engine must be dask, got None" in call("--scheduler", "tcp://127.0.0.1:1")
    assert "the cluster has its own workers" in call("--engine", "dask", "--jobs", "2")
    assert "needs the address of a scheduler" in call("--engine", "dask")
    engine = Engine(scheduler="tcp://127.0.0.1:1", timeout_s=0.5)
    with pytest.raises(ConfigError, match="cannot be reached"):
        run(root, tmp_path / "o", engine=engine)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"pip install 'echoseg\[cluster\]'"):
        run(root, tmp_path / "p", engine=engine)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["dask", "local"])
def test_kills_of_workers_scheduler_and_driver_change_no_table(tmp_path, engine):
    words = ["kills", "--clips", "60", "--kills", "5", "--nodes", "3", "--engines", engine]
    script = ROOT / "benchmarks" / "engines.py"
    done = subprocess.run(
        [sys.executable, str(script), *words, "--work", str(tmp_path)],
        capture_output=True, text=True, timeout=280, cwd=script.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts["tables that differ"] == 0
    assert counts.get("worker", 0) + counts.get("scheduler", 0) + counts.get("driver", 0) >= 1
