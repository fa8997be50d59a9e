"""Two views of a heart: paired by name, reported together, written whole or not at all."""

import csv
import json
import re
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from echoseg.cli import app
from echoseg.clip import Clip, View
from echoseg.errors import OutputError
from echoseg.inference.analysis import Analysis
from echoseg.measure.measure import measure_masks
from echoseg.report.biplane import BiplaneAnalysis, BiplaneReport
from echoseg.report.writer import FILES, PDF, PLANES, write_biplane
from echoseg.weights.card import ModelCard
from heart_makers import beating

MODEL = ModelCard(
    name="made-up",
    sha256="0" * 64,
    licence="Apache-2.0",
    architecture="mssnet",
    image_size=160,
)


def analysis(name, view, spacing_mm=(1.0, 1.0)):
    masks, times, _ = beating(80, phase=0.5)
    clip = Clip(frames=60 * masks, times_s=times, source=name, view=view, spacing_mm=spacing_mm)
    found = measure_masks(masks, spacing_mm=spacing_mm, times_s=times)
    return Analysis(clip=clip, masks=masks, measurement=found, model=MODEL)


@pytest.fixture(scope="module")
def study():
    a4c, a2c = analysis("x_A4C.avi", View.A4C), analysis("x_A2C.avi", View.A2C)
    return BiplaneAnalysis(a4c=a4c, a2c=a2c)


@pytest.fixture(scope="module")
def written(study, tmp_path_factory):
    return write_biplane(study, tmp_path_factory.mktemp("study") / "x")


def test_the_report_holds_both_planes_and_what_they_give_together(study, written):
    report = BiplaneReport.model_validate_json((written / "report.json").read_text())
    # A2C is no view that the shipped model supports, so its EF and the common one are withheld
    assert report.results.ef_percent is None and report.ef_reliable is False
    assert report.ef_unreliable_percent == pytest.approx(study.biplane.ef_percent, abs=0.051)
    assert report.ef_unreliable_percent == pytest.approx(report.a4c.results.ef_percent, abs=0.1)
    assert (report.a4c.input.view, report.a2c.input.view) == ("A4C", "A2C")
    assert {w.message[:4] for w in report.warnings if w.code == "few_beats"} == {"A4C:", "A2C:"}
    assert "biplane" in report.results.method


def test_the_folder_holds_each_planes_results(written):
    assert {path.name for path in written.iterdir()} == {
        "report.json", "registry.csv", "report.html", *PLANES,
    }  # fmt: skip
    for plane in ("A4C", "A2C"):
        assert {path.name for path in (written / plane).iterdir()} == FILES - {PDF}


def test_the_page_links_to_both_planes_and_fetches_nothing(written):
    page = (written / "report.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)', page)
    links = [source for source in sources if not source.startswith("data:")]
    assert links == ["A4C/report.html", "A2C/report.html"]
    assert "not reliable" in page and "EF class" not in page


def test_the_registry_has_one_row(written):
    with (written / "registry.csv").open() as file:
        (row,) = csv.DictReader(file)
    report = json.loads((written / "report.json").read_text())
    assert float(row["edv_ml"]) == report["results"]["edv_ml"]
    assert "x_A4C" not in ",".join(row.values())


def test_a_study_without_a_scale_is_written_with_its_reason(tmp_path):
    both = BiplaneAnalysis(a4c=analysis("a", View.A4C, None), a2c=analysis("b", View.A2C))
    folder = write_biplane(both, tmp_path / "x")
    report = json.loads((folder / "report.json").read_text())
    assert report["results"]["ef_percent"] is None
    assert "no usable pixel spacing" in report["results"]["refusal"]
    assert report["a4c"]["results"]["ef_percent"] is not None


def test_a_study_is_replaced_only_by_force_and_never_with_what_is_foreign(study, tmp_path):
    folder = write_biplane(study, tmp_path / "x")
    with pytest.raises(OutputError, match="--force"):
        write_biplane(study, folder)
    write_biplane(replace(study), folder, force=True)
    (folder / "A4C" / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match=r"mine\.txt, which echoseg did not write"):
        write_biplane(study, folder, force=True)
    assert (folder / "A4C" / "mine.txt").exists()


def run(*args):
    return CliRunner().invoke(app, ["analyze", *(str(arg) for arg in args)])


def test_two_views_are_analysed_together(tmp_path):
    from pydicom import examples

    clip = examples.get_path("ybr_color")
    given = ("--a4c", clip, "--a2c", clip, "--spacing-mm", "1.02", "1.02")
    refused = run(*given, "-o", tmp_path / "refused")
    assert refused.exit_code == 1 and "stated to be A2C but shows" in " ".join(
        refused.output.split()
    )
    result = run(*given, "-o", tmp_path, "--force-view")
    assert result.exit_code == 1, result.output  # an EF, not a reliable one
    report = json.loads((tmp_path / "biplane" / "report.json").read_text())
    # the same clip twice: biplane is the one plane
    assert report["ef_unreliable_percent"] == pytest.approx(
        report["a4c"]["results"]["ef_percent"] or report["a4c"]["ef_unreliable_percent"], abs=0.2
    )
    assert "wrong_view" in {warning["code"] for warning in report["warnings"]}


def test_what_is_asked_for_is_one_thing(tmp_path):
    for args, words in (
        ([], "give CLIPS, or --a4c with --a2c, or --study FOLDER"),
        (["x.avi", "--study", tmp_path], "one of the three"),
        (["--a4c", "x.avi"], "must be given together"),
        (["--study", tmp_path / "none"], "must be a folder"),
        (["--study", tmp_path, "--view", "A4C"], "do not apply to --study"),
    ):
        result = run(*args)
        assert (result.exit_code, words in result.output) == (2, True), result.output
