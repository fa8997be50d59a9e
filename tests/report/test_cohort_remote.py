"""Cohorts whose clips and output are objects: the tables of a local run, and no harm by names."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from cohort_stub import SETTINGS, StubWork, run, write_clips
from echoseg.cli import app
from echoseg.errors import ConfigError, DatasetError, EchosegError, OutputError, TooLargeError
from echoseg.remote import Remote, file_name
from echoseg.report import cohort
from echoseg.report.cohort.remote import find_remote_clips, mirrored, watched
from s3_server import s3_server

pytest.importorskip("obstore", reason="the extra remote is not installed")

TABLES = ("results.csv", "failures.csv", "not_clips.csv")
SECRET = "SECRETKEY123"


@pytest.fixture(autouse=True)
def _stub(monkeypatch, tmp_path):
    monkeypatch.setattr(cohort, "Work", StubWork)
    monkeypatch.setenv("ECHOSEG_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def store(monkeypatch):
    with s3_server() as server:
        for name, value in {
            "AWS_ENDPOINT_URL": server.url, "AWS_ACCESS_KEY_ID": "KEYID", "AWS_REGION": "us-east-1",
            "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ALLOW_HTTP": "true",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        from echoseg import remote

        remote._open.cache_clear()
        yield server
        remote._open.cache_clear()


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    root = write_clips(tmp_path_factory.mktemp("clips") / "clips", "a", "b", "broken")
    write_clips(root / "p 1", "c", "d")
    (root / "notes.txt").write_text("left out by its name")
    return root


@pytest.fixture(scope="module")
def quiet(clips, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cohort, "Work", StubWork)
        out = tmp_path_factory.mktemp("quiet") / "out"
        run(clips, out, limits=None)
    return [(out / name).read_bytes() for name in TABLES]


def upload(server, root, prefix="b/in"):
    for path in root.rglob("*"):
        if path.is_file():
            server.objects[f"{prefix}/{path.relative_to(root).as_posix()}"] = path.read_bytes()


def remote_run(out, prefix="s3://b/in", **options):
    options = cohort.RunOptions(limits=None, **options)
    found = find_remote_clips(Remote.parse(prefix), out)
    with mirrored(out, options.shard) as (place, mirror):
        return cohort.run_cohort(found, SETTINGS, place, options, mirror=mirror)


def stored(server, prefix="b/out/"):
    return {k.removeprefix(prefix): v for k, v in server.objects.items() if k.startswith(prefix)}


def remote_path(tmp_path, name="s3://b/out"):
    from pathlib import Path

    return Path(name)  # as typer has it: s3:/b/out


def test_an_address_is_known_and_printed_without_access():
    assert str(Remote.parse("s3:/bucket/a/b/")) == "s3://bucket/a/b"
    assert Remote.parse("s3://b/x") == Remote.parse("s3:/b/x")
    place = Remote.parse("sftp://user:pass@host/data")
    assert str(place) == "sftp://host/data" and "pass" not in repr(place)
    for word in ("pa/ss", "pa#ss", "pa?ss", "p@ss", "p@s/s"):
        assert str(Remote.parse(f"sftp://user:{word}@host/data")) == "sftp://host/data", word
    assert str(Remote.parse("s3://bucket/a@b/c")) == "s3://bucket/a@b/c"
    assert str(Remote.parse("sftp://host/data@2024/x")) == "sftp://host/data@2024/x"
    assert str(Remote.parse("s3://[bucket/x")) == "s3://[bucket/x"
    for local in ("a", "/a/b", "s3/x", "c:/x", "http://x/y", "file:///x", "s3:", "./s3:/x"):
        assert Remote.parse(local) is None, local


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a/./b", "a\0b", "x" * 300, "a/"]
)
def test_names_that_no_file_can_have_are_none(name):
    assert file_name(name) == ""


def test_clips_and_output_in_a_bucket_give_the_tables_of_a_local_run(store, clips, quiet, tmp_path):
    upload(store, clips)
    outcome = remote_run(remote_path(tmp_path))
    held = stored(store)
    assert (outcome.clips, outcome.failed) == (5, 1)
    assert [held[name] for name in TABLES] == quiet
    assert {"a/report.json", "a/masks.nii.gz", "p_1_c/frames.csv", "manifest.json"} <= set(held)
    assert json.loads(held["a/report.json"])["input"]["file_name"] == "a.avi"
    for name in ("a", "b", "p_1_c"):  # the mark comes last
        order = [key for key in store.order if key.startswith(f"b/out/{name}/")]
        assert order[-1] == f"b/out/{name}/report.json" and len(order) > 2
    text = b"".join(held.values()).decode("latin-1")
    assert SECRET not in text and "KEYID" not in text and str(tmp_path) not in text
    assert not list((tmp_path / "cache" / "fetched").rglob("*.avi"))
    assert not list((tmp_path / "cache" / "mirrors").rglob("masks.nii.gz"))


def test_a_resume_fetches_nothing_that_is_done_from_any_machine(store, clips, quiet, tmp_path):
    upload(store, clips)
    remote_run(remote_path(tmp_path))
    for machine in ("same", "another"):
        for tries in (tmp_path / "cache").rglob("tries.txt"):
            tries.unlink()
        if machine == "another":
            shutil.rmtree(tmp_path / "cache")
        for key in [k for k in store.objects if k.startswith("b/out/c") or "results" in k]:
            del store.objects[key]
        remote_run(remote_path(tmp_path), resume=True)
        assert [stored(store)[name] for name in TABLES] == quiet
        assert not list((tmp_path / "cache").rglob("tries.txt"))


def test_a_result_that_was_removed_is_made_again(store, clips, quiet, tmp_path):
    upload(store, clips)
    remote_run(remote_path(tmp_path))
    for key in [key for key in store.objects if key.startswith("b/out/a/")]:
        del store.objects[key]
    remote_run(remote_path(tmp_path), resume=True)
    assert "a/masks.nii.gz" in stored(store) and [stored(store)[n] for n in TABLES] == quiet
    for key in [key for key in store.objects if key.startswith("b/out/")]:
        del store.objects[key]
    remote_run(remote_path(tmp_path))  # begun anew: nothing of the old mirror is left
    assert [stored(store)[name] for name in TABLES] == quiet


def test_a_run_that_ends_while_it_stores_leaves_whole_results_only(store, clips, quiet, tmp_path):
    upload(store, clips)
    store.refused = lambda key: key.endswith("/b/frames.csv")
    with pytest.raises(OutputError, match=r"s3://b/out cannot be written"):
        remote_run(remote_path(tmp_path))
    held = stored(store)
    marks = {name.split("/")[0] for name in held if name.endswith("/report.json")}
    assert "b" not in marks
    assert all(f"{name}/masks.nii.gz" in held for name in marks)
    store.refused = lambda key: False
    remote_run(remote_path(tmp_path), resume=True)
    held = stored(store)
    assert [held[name] for name in TABLES] == quiet
    assert {"b/masks.nii.gz", "b/frames.csv", "b/report.json"} <= set(held)


def test_a_changed_object_is_refused_and_a_mended_one_is_tried_again(store, clips, quiet, tmp_path):
    upload(store, clips)
    remote_run(remote_path(tmp_path))
    store.objects["b/in/broken.avi"] = b"ok now"
    remote_run(remote_path(tmp_path), resume=True)
    assert stored(store)["failures.csv"] == b"clip,reason\n"
    assert "failures/broken.json" not in stored(store)
    store.objects["b/in/a.avi"] = b"another content"
    with pytest.raises(
        ConfigError, match=r"a\.avi is not the file whose result is in s3://b/out/a"
    ):
        remote_run(remote_path(tmp_path), resume=True)


@pytest.mark.parametrize("name", ["../../evil.avi", "a/../../evil.avi", "x//y.avi", "/etc/x.avi"])
def test_a_name_that_leads_elsewhere_is_refused(store, clips, tmp_path, name):
    upload(store, clips)
    store.objects[f"b/in/{name}"] = b"ok ok"
    with pytest.raises(DatasetError, match=r"s3://b/in cannot be listed .*that no file can have"):
        remote_run(remote_path(tmp_path))
    assert stored(store) == {}


def test_odd_names_are_names_only(store, tmp_path):
    names = (
        "=cmd|'x'!A0.avi",
        "a b.avi",
        "\u00fc/\u00e9.avi",
        "-rf.avi",
        "n" * 300 + ".avi",
        "p%2e%2e/x.avi",
    )
    for name in names:
        store.objects[f"b/in/{name}"] = b"ok ok"
    outcome = remote_run(remote_path(tmp_path))
    assert (outcome.clips, outcome.others) == (5, 1)
    held = stored(store)
    assert "n" * 300 in held["not_clips.csv"].decode()
    assert "'=cmd" in held["results.csv"].decode()
    folders = {name.split("/")[0] for name in held if name.endswith("/report.json")}
    assert len(folders) == 5 and not any(".." in name or name[0] in "-=." for name in folders)


def test_hostile_names_in_the_output_are_not_mirrored(store, clips, tmp_path):
    upload(store, clips)
    remote_run(remote_path(tmp_path))
    for name in (".ssh/report.json", "big/masks.nii.gz", "failures/x.json/y", "p/q/report.json"):
        store.objects[f"b/out/{name}"] = b"{}"
    with watched(remote_path(tmp_path)) as folder:
        assert not (folder / ".ssh").exists() and not (folder / "big").exists()
        assert not (folder / "p").exists() and not (folder / "failures" / "x.json").exists()


def test_objects_that_are_too_large_fail_alone_and_leave_nothing(store, clips, tmp_path):
    upload(store, clips)
    with pytest.raises(TooLargeError, match="raise --max-decoded"):
        Remote.parse("s3://b/in").fetch("a.avi", tmp_path / "a", max_bytes=2)
    store.objects["b/in/large.avi"] = b"ok " * 2_000_000
    small = SETTINGS.model_copy(update={"max_decoded_gib": 0.001})
    found = find_remote_clips(Remote.parse("s3://b/in"), tmp_path / "o")
    cohort.run_cohort(found, small, tmp_path / "o", cohort.RunOptions(limits=None))
    assert "large.avi,it has more than 0.004 GiB" in (tmp_path / "o" / "failures.csv").read_text()
    assert not list((tmp_path / "cache" / "fetched").rglob("large*"))


def test_what_cannot_be_fetched_is_tried_again(store, clips, quiet, tmp_path):
    upload(store, clips)
    found = find_remote_clips(Remote.parse("s3://b/in"), tmp_path / "o")
    content = store.objects.pop("b/in/a.avi")
    cohort.run_cohort(found, SETTINGS, tmp_path / "o", cohort.RunOptions(limits=None))
    text = (tmp_path / "o" / "failures.csv").read_text()
    assert "a.avi,it cannot be read (it does not exist); --resume (resume) to try it again" in text
    store.objects["b/in/a.avi"] = content
    options = cohort.RunOptions(limits=None, resume=True)
    cohort.run_cohort(found, SETTINGS, tmp_path / "o", options)
    assert [(tmp_path / "o" / name).read_bytes() for name in TABLES] == quiet


def test_shards_on_machines_without_a_common_disk(store, clips, quiet, tmp_path, monkeypatch):
    upload(store, clips)
    for index in (2, 1, 3):
        monkeypatch.setenv("ECHOSEG_CACHE_DIR", str(tmp_path / f"machine{index}"))
        remote_run(remote_path(tmp_path), shard=cohort.Shard(index=index, count=3))
    done = CliRunner().invoke(app, ["cohort", "merge", "s3://b/out"])
    assert done.exit_code == 1 and "tables in s3://b/out" in done.output, done.output
    assert [stored(store)[name] for name in TABLES] == quiet


def test_commands_on_a_remote_folder(store, clips, tmp_path):
    upload(store, clips)
    remote_run(remote_path(tmp_path))

    def call(*words):
        return CliRunner().invoke(app, list(map(str, words)))

    text = call("cohort", "status", "s3://b/out").output
    assert "5 clips: 4 done, 1 failed, 0 pending" in text and "may be in work" in text
    assert "to be tried again: 1 (clip 1)" in call("cohort", "retry", "s3://b/out").output
    assert b'"retry": true' in stored(store)["failures/broken.json"]
    assert "to be tried again: 1" in call("cohort", "status", "s3://b/out").output
    table = tmp_path / "r.parquet"
    assert "4 results" in call("cohort", "export", "s3://b/out", "-o", table).output
    for words, text in (
        (["s3://b/in", "s3://b/more"], "give one remote folder"),
        (["s3://b/in", "--dicom"], "--dicom does not apply to remote folders"),
        (["s3://b/none"], "s3://b/none holds no clip"),
        (["--study", "s3://b/in"], "copy them first"),
        ([str(clips), "-o", "s3://b/o", "--engine", "dask"], "that all machines share"),
        (["s3://b/in", "-o", "s3://b/out"], "s3://b/out already holds a cohort"),
    ):
        done = call("analyze", *words, *([] if "-o" in words else ["-o", tmp_path / "x"]))
        assert done.exit_code == 2 and text in done.stderr, (words, done.stderr)


def test_the_command_in_worker_processes(store, clips, quiet, tmp_path):
    upload(store, clips)
    words = ["analyze", "s3://b/in", "-o", "s3://b/out", "--model", "phantom", "--no-pages"]
    done = CliRunner().invoke(app, [*words, "--jobs", "1"])
    assert done.exit_code == 1 and "of 5 clips (not reliable: 4, failed: 1)" in done.output, (
        done.output
    )
    assert "tables in s3://b/out" in done.output and SECRET not in done.output
    assert [stored(store)[name] for name in TABLES] == quiet


def test_private_names_hide_the_keys(store, clips, tmp_path):
    upload(store, clips)
    from echoseg.private import Pseudonyms

    found = find_remote_clips(Remote.parse("s3://b/in"), tmp_path)
    hidden = found.hidden(Pseudonyms(tmp_path / "key"))
    assert all(name.startswith("clip-") for name in hidden) and len(hidden) == 5
    assert list(hidden.values()) == list(found.values()) and hidden.remote == found.remote
    table = (tmp_path / "key.names.jsonl").read_text()
    assert '"path": "s3://b/in/p 1/c.avi"' in table


def test_what_the_store_says_is_not_repeated(store, tmp_path, monkeypatch):
    from echoseg import remote

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    remote._open.cache_clear()
    monkeypatch.setattr(
        remote, "_connect", lambda place: (_ for _ in ()).throw(ValueError(f"bad key {SECRET}"))
    )
    for action, kind in (
        (lambda place: place.files(), DatasetError),
        (lambda place: place.put(tmp_path, "x"), OutputError),
        (lambda place: place.fetch("x", tmp_path / "x", 1), DatasetError),
    ):
        with pytest.raises(kind, match="s3://b/in cannot be") as error:
            action(Remote.parse("s3://b/in"))
        assert SECRET not in str(error.value)


def test_a_missing_library_is_named(monkeypatch):
    import sys

    from echoseg import remote

    remote._open.cache_clear()
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(EchosegError, match=r"pip install 'echoseg\[remote\]'"):
        Remote.parse("s3://b/in").files()


def test_a_store_without_atomic_writes_gets_partial_names_first(tmp_path):
    place = Remote.parse("memory://box/in")
    (tmp_path / "x").write_bytes(b"content")
    place.put(tmp_path / "x", "p/x.avi")
    place.put(tmp_path / "x", "p/x.avi")
    assert list(place.files()) == ["p/x.avi"]
    place.fetch("p/x.avi", tmp_path / "y", 100)
    assert (tmp_path / "y").read_bytes() == b"content"
    place.remove("p/x.avi")
    place.remove("p/x.avi")
    assert place.files() == {}


def test_clips_and_output_on_an_sftp_server(clips, quiet, tmp_path, monkeypatch):
    pytest.importorskip("paramiko", reason="the extra remote is not installed")
    from sftp_server import PASSWORD, USER, sftp_server

    folder = tmp_path / "served"
    shutil.copytree(clips, folder / "in")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    known_hosts = tmp_path / "home" / ".ssh" / "known_hosts"
    with sftp_server(folder, known_hosts) as host:
        place = f"sftp:/{USER}:{PASSWORD}@{host}"
        out = remote_path(tmp_path, f"{place}/out")
        remote_run(out, f"{place}/in")
        remote_run(out, f"{place}/in", resume=True)
        assert [(folder / "out" / name).read_bytes() for name in TABLES] == quiet
        held = [path for path in (folder / "out").rglob("*") if path.is_file()]
        assert not [path for path in held if path.name.endswith("-partial")]
        assert not any(PASSWORD.encode() in path.read_bytes() for path in held)
        wrong = Remote.parse(f"sftp:/{USER}:wrong@{host}/in")
        with pytest.raises(DatasetError, match="access is denied") as error:
            wrong.files()
        assert "wrong" not in str(error.value) and f"sftp://{host}/in" in str(error.value)


@pytest.mark.parametrize("known", ["none", "another"])
def test_a_host_key_that_ssh_does_not_know_is_refused_before_any_password(
    tmp_path, monkeypatch, known
):
    paramiko = pytest.importorskip("paramiko", reason="the extra remote is not installed")
    from sftp_server import PASSWORD, USER, Account, sftp_server

    asked = []
    monkeypatch.setattr(Account, "check_auth_password", lambda *words: asked.append(words))
    monkeypatch.setenv("HOME", str(tmp_path))
    known_hosts = tmp_path / ".ssh" / "known_hosts"
    with sftp_server(tmp_path, known_hosts) as host:
        address, kind, _ = known_hosts.read_text().split()
        another = paramiko.RSAKey.generate(2048).get_base64()
        known_hosts.write_text(f"{address} {kind} {another}\n" if known == "another" else "")
        with pytest.raises(DatasetError, match="host key is not in"):
            Remote.parse(f"sftp:/{USER}:{PASSWORD}@{host}/in").files()
    assert not asked
