"""The dossier is current, and every test that it names exists and is collected."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from echoseg.weights.card import SHIPPED, find_checkpoint, read_card
from experiments.leaderboard import COLUMNS, FILE, entry_of, read_entries
from scripts import dossier

ROOT = Path(__file__).parents[2]
HAZARD = """
[[hazard]]
id = "H-01"
hazard = "a hazard"
sequence = "events"
harm = "a harm"
severity = "minor"
mitigation = "a mitigation"
residual = "a rest"
tests = ["tests/docs/test_dossier.py::test_a_page_is_up_to_date"]
"""


@pytest.mark.parametrize("page", dossier.PAGES, ids=lambda page: page.name)
def test_a_page_is_up_to_date(page):
    assert page.read_text("utf-8") == dossier.PAGES[page](), "run: python scripts/dossier.py"


def test_the_check_notices_a_page_that_is_not(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("old", "utf-8")
    monkeypatch.setattr(dossier, "PAGES", {page: lambda: "new"})
    monkeypatch.setattr(sys, "argv", ["dossier.py", "--check"])
    with pytest.raises(SystemExit, match=r"out of date; run: python scripts/dossier\.py"):
        dossier.main()
    monkeypatch.setattr(sys, "argv", ["dossier.py"])
    dossier.main()
    assert page.read_text("utf-8") == "new"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_named_test_is_collected():
    named = {test for _, _, tests in dossier.named_tests() for test in tests}
    files = sorted({test.partition("::")[0] for test in named})
    command = [sys.executable, "-m", "pytest", "--collect-only", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=580)
    collected = {line.partition("[")[0].strip() for line in done.stdout.splitlines()}
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert named - collected == set()


def test_there_are_hazards_and_requirements_of_every_component():
    ids = [identifier for identifier, _, _ in dossier.named_tests()]
    hazards = [identifier for identifier in ids if identifier.startswith("H-")]
    assert len(hazards) >= 25
    assert 40 <= len(ids) - len(hazards) <= 80


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("is_up_to_date", "is_gone", "tests must be node ids of tests that exist"),
        ("tests/docs/", "tests/../tests/docs/", "tests must be node ids of tests that exist"),
        ("tests/docs/test_dossier.py", "scripts/dossier.py", "tests must be node ids"),
        ("::test_a_page_is_up_to_date", "", "tests must be node ids of tests that exist"),
        ('["tests/docs/test_dossier.py::test_a_page_is_up_to_date"]', "[]", "at least 1 item"),
        ("minor", "small", "severity must be 'negligible', 'minor', 'serious' or 'critical'"),
        ('harm = "a harm"\n', "", "harm must be given"),
        ("residual", "rest", "residual must be given"),
        ("H-01", "1", "hazard.0.id"),
        ("events", "two\\nlines", "sequence"),
        ("a rest", "", "residual"),
        ('"H-01"', "", "hazards.toml cannot be read: Invalid value"),
    ],
)
def test_a_broken_entry_is_refused_in_a_sentence(tmp_path, old, new, words):
    path = tmp_path / "hazards.toml"
    path.write_text(HAZARD.replace(old, new), "utf-8")
    with pytest.raises(SystemExit) as refusal:
        dossier.read(path, dossier.Hazards)
    assert words in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_an_id_comes_once_and_a_file_must_be_there(tmp_path):
    path = tmp_path / "hazards.toml"
    path.write_text(HAZARD, "utf-8")
    assert len(dossier.read(path, dossier.Hazards).hazard) == 1
    path.write_text(HAZARD + HAZARD, "utf-8")
    with pytest.raises(SystemExit, match="id must be unique, got H-01 2 times"):
        dossier.read(path, dossier.Hazards)
    with pytest.raises(SystemExit, match=r"none\.toml cannot be read"):
        dossier.read(tmp_path / "none.toml", dossier.Hazards)


CASES = {
    "passed": "",
    "failed": '<failure message="no"/>',
    "skipped": '<skipped message="not installed"/>',
}


@pytest.mark.parametrize(
    ("outcomes", "words", "fails"),
    [
        (("passed", "skipped"), "1 of 1", False),
        (("skipped", "skipped"), "every test skipped on this machine: XX-1", False),
        (("passed", "failed"), "a test failed or was not run: XX-1", True),
        ((), "a test failed or was not run: XX-1", True),
    ],
)
def test_the_trace_holds_the_results_of_a_run(
    tmp_path, monkeypatch, capsys, outcomes, words, fails
):
    entry = ("XX-1", "a requirement", ("tests/a/test_b.py::test_c",))
    monkeypatch.setattr(dossier, "named_tests", lambda: iter([entry]))
    cases = "".join(
        f'<testcase classname="tests.a.test_b" name="test_c[{kind}]">{CASES[kind]}</testcase>'
        for kind in outcomes
    )
    junit, trace = tmp_path / "tests.xml", tmp_path / "trace.md"
    junit.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>", "utf-8")
    try:
        dossier.verify(junit, trace)
        text = ""
    except SystemExit as end:
        text = str(end)
    assert bool(text) is fails
    assert words in capsys.readouterr().out + text
    assert "tests/a/test_b.py::test_c" in trace.read_text("utf-8")


def test_what_is_not_the_result_of_a_run_is_refused(tmp_path):
    (tmp_path / "tests.xml").write_text("<a", "utf-8")
    for name in ("tests.xml", "none.xml"):
        with pytest.raises(SystemExit, match="is not a JUnit file of pytest"):
            dossier.verify(tmp_path / name, None)


def test_a_run_of_pytest_is_read(tmp_path):
    junit = tmp_path / "tests.xml"
    tests = ["tests/metrics/test_icc.py", "tests/test_paths.py::test_clips"]
    command = [sys.executable, "-m", "pytest", "-q", "-W", "default", f"--junitxml={junit}"]
    subprocess.run([*command, *tests], cwd=ROOT, check=True, capture_output=True, timeout=200)
    outcomes = dossier.outcomes(junit)
    assert outcomes["tests/test_paths.py::test_clips"] == {"passed"}
    assert outcomes["tests/metrics/test_icc.py::test_the_example_of_shrout_and_fleiss"]


@pytest.mark.parametrize("name", SHIPPED)
def test_subgroups_are_those_of_the_card(name):
    card = read_card(find_checkpoint(name))
    for view, key in (("A4C", "lv_endo"), ("A2C", "a2c_lv_endo")):
        (row,) = (
            row
            for row in dossier.subgroup_rows()
            if (row["model"], row["value"]) == (name, view) and row["data"].startswith("CAMUS")
        )
        assert float(row["dice"]) == pytest.approx(card.camus_validation[key], abs=6e-4)
        assert row["sha256"] == card.sha256


def test_the_rows_of_shipped_networks_are_their_evaluations():
    shipped = {read_card(find_checkpoint(name)).sha256: name for name in SHIPPED}
    rows = [entry for entry in read_entries(FILE) if entry.sha256 in shipped]
    assert sorted(shipped[entry.sha256] for entry in rows) == sorted(SHIPPED)
    for entry in rows:
        name = f"{shipped[entry.sha256]}-on-phantom-test"
        path = ROOT / "docs" / "results" / "evaluation" / name / "summary.json"
        summary = json.loads(path.read_text("utf-8"))
        assert summary["counts"]["patients"] == entry.hearts
        about = ("hearts", "name", "who", "date", "trained_on", "commit", "machine", "frames_per_s")
        again = entry_of(summary, **{field: getattr(entry, field) for field in about})
        assert {c: getattr(again, c) for c in COLUMNS} == {c: getattr(entry, c) for c in COLUMNS}
