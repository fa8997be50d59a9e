"""An EF that cannot be relied on is stated as a number nowhere: every file, picture and message."""

import csv
import json
import re
from dataclasses import replace
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import ImageDraw
from typer.testing import CliRunner

from echoseg.cli import app
from echoseg.cli.analyze import count_efs
from echoseg.cli.table import show_analysis, show_biplane
from echoseg.clip import Clip, ClipWarning, View
from echoseg.inference.analysis import Analysis
from echoseg.inference.ef_statement import grade_within, state_ef
from echoseg.inference.live.session import BEING_CHECKED, NO_BEAT, NO_RECENT_BEAT, FrameResult
from echoseg.measure.measure import measure_masks
from echoseg.measure.measurement import BeatMeasurement
from echoseg.quality.reliability import ClipReliability, ClipUncertainty, EfInterval
from echoseg.report import writer
from echoseg.report.biplane import BiplaneAnalysis, build_biplane_report
from echoseg.report.cohort import Cohort, Entry, Settings, write_tables
from echoseg.report.figures.live import describe
from echoseg.report.html import plain_words
from echoseg.report.writer import write_biplane, write_results
from echoseg.weights.card import ModelCard
from heart_makers import beating

CARD = ModelCard(
    name="made-up", sha256="0" * 64, licence="Apache-2.0", architecture="mssnet", image_size=160
)
SEGMENTS_ONLY = "This model is for masks only: its EF is off by 16 points on average."
REASON = "The contour shakes from frame to frame, so this EF is not reliable."
INTERVAL = EfInterval(
    low_percent=31.4, high_percent=63.4, level_percent=90.0, expected_error_points=8.7,
    source="some patients",
)  # fmt: skip
RELIABILITY = ClipReliability(
    interval=INTERVAL,
    uncertainty=ClipUncertainty(
        entropy=0.1, pose_points=1.0, gamma_percent=1.0, segments_unseen=0.0
    ),
    lv_outside_sector_percent=0.0,
)


def heart(*, warnings=(), card=CARD, view=View.A4C, source="x_A4C.avi"):
    masks, times, _ = beating(80, phase=0.5)
    clip = Clip(
        frames=60 * masks, times_s=times, source=source, view=view, spacing_mm=(1.0, 1.0),
        warnings=tuple(ClipWarning(code=code, message=text) for code, text in warnings),
    )  # fmt: skip
    measured = measure_masks(masks, spacing_mm=(1.0, 1.0), times_s=times)
    return Analysis(
        clip=clip, masks=masks, measurement=measured, model=card, reliability=RELIABILITY
    )


def doubtful(**known):
    return heart(warnings=[("do_not_trust", REASON)], **known)


@pytest.fixture
def drawn(monkeypatch):
    """Every text that Pillow draws and the PDF holds."""
    texts = []
    written = writer.report_pdf

    def noted_pdf(content):
        texts.extend(str(text).replace("\u00a0", " ") for _, text in leaves(content))
        return written(content)

    monkeypatch.setattr(writer, "report_pdf", noted_pdf)
    for name in ("text", "multiline_text"):
        plain = getattr(ImageDraw.ImageDraw, name)

        def noted(self, place, text, *args, plain=plain, **options):
            texts.append(text)
            return plain(self, place, text, *args, **options)

        monkeypatch.setattr(ImageDraw.ImageDraw, name, noted)
    return texts


def prose(path):
    """What a page says, without its style and the pictures inside."""
    page = re.sub(r"<style>.*?</style>", "", path.read_text("utf-8"), flags=re.DOTALL)
    return re.sub(r"<[^>]*>", " ", re.sub(r'"data:[^"]*"', "", page)).replace("\u00a0", " ")


def leaves(value, key=""):
    """Every key and value of a JSON document."""
    if isinstance(value, dict):
        return chain.from_iterable(leaves(one, name) for name, one in value.items())
    if isinstance(value, list):
        return chain.from_iterable(leaves(one, key) for one in value)
    return iter([(key, value)])


def row_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    return row


def assert_states_no_number(folder, measured_percent, texts):
    """No file of a result folder, and no text, states one of the EFs that were measured."""
    words = [*texts, *(prose(path) for path in folder.rglob("report.html"))]
    for percent in measured_percent:
        number = re.compile(rf"(?<![\d.]){percent:.0f}(\.\d+)?\s*%")
        assert [text for text in words if number.search(text)] == []
    known = []
    for path in folder.rglob("report.json"):
        known += leaves(json.loads(path.read_text()))
    for path in folder.rglob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            known += [pair for row in csv.DictReader(file) for pair in row.items()]
    empty = [v for k, v in known if re.search(r"(^|_)ef_\w*percent|ef_grade$|ef_sd", k)
             and "unreliable" not in k]  # fmt: skip
    assert len(empty) > 5 and set(empty) <= {None, ""}


def test_an_unreliable_ef_is_a_number_in_no_file_picture_or_message(tmp_path, drawn, capsys):
    analysis = doubtful()
    folder = write_results(analysis, tmp_path / "clip", pdf=True)
    show_analysis(analysis, folder)
    printed = capsys.readouterr().out
    measured = analysis.measurement
    percents = {measured.ef_percent, *(beat.ef_percent for beat in measured.beats)}
    texts = [*drawn, printed, repr(analysis), analysis._repr_html_()]
    assert_states_no_number(folder, percents, texts)
    for text in ("".join(drawn), printed, prose(folder / "report.html")):
        assert "not reliable" in text and "shakes" in text
        assert "31 to 63" not in text and "likeliest" not in text and "54 to 74" not in text
    assert analysis.ef_percent is None and "not reliable" in repr(analysis)
    strain = f"{measured.gls_percent:.1f} %"
    assert re.search(rf"contour strain\W+{re.escape(strain)}, not reliable", printed)
    assert "All measurements, not reliable" in prose(folder / "report.html")
    assert "Heartbeats, not reliable" in prose(folder / "report.html")
    assert drawn.count("not reliable") >= 3  # headline, beats, measurements


def test_the_tables_have_the_doubt_in_columns_of_its_own(tmp_path):
    analysis = doubtful()
    row = row_of(write_results(analysis, tmp_path / "clip", pages=False) / "registry.csv")
    assert (row["ef_percent"], row["ef_reliable"], row["ef_reason"]) == ("", "False", REASON)
    assert float(row["ef_unreliable_percent"]) == round(analysis.measurement.ef_percent, 1)
    assert (row["ef_grade"], row["ef_low_percent"], row["ef_high_percent"]) == ("", "", "")
    report = json.loads((tmp_path / "clip" / "report.json").read_text())
    assert (report["ef_reliable"], report["ef_reason"]) == (False, REASON)
    assert (report["normal_ranges"], report["reliability"]["interval"]) == ({}, None)
    row = row_of(write_results(heart(), tmp_path / "good", pages=False) / "registry.csv")
    assert (row["ef_reliable"], row["ef_reason"], row["ef_unreliable_percent"]) == ("True", "", "")
    assert row["ef_grade"] == "reduced to preserved, mildly reduced likeliest"
    assert (row["ef_low_percent"], row["ef_high_percent"]) == ("31.4", "63.4")


def test_a_reliable_ef_is_shown_with_interval_and_class_everywhere(tmp_path, drawn, capsys):
    analysis = heart()
    folder = write_results(analysis, tmp_path / "clip", pdf=True)
    show_analysis(analysis, folder)
    number = f"{analysis.ef_percent:.0f} %"
    for text in ("\n".join(drawn), capsys.readouterr().out, prose(folder / "report.html")):
        text = " ".join(text.split())
        for part in (number, "31 to 63 %", "reduced to preserved, mildly reduced likeliest"):
            assert part in text


def test_a_cohort_counts_what_is_withheld_apart(tmp_path):
    names = {"good": heart(), "doubtful": doubtful(), "masks": heart(card=segments_only())}
    for name, analysis in names.items():
        write_results(analysis, tmp_path / name, pages=False)
    entries = tuple(Entry(clip=name, source=tmp_path / name, name=name) for name in names)
    cohort = Cohort(settings=Settings(model="m", model_sha256="0"), entries=entries)
    done = write_tables(cohort, tmp_path)
    assert (done.clips, done.unreliable, done.without_ef, done.failed) == (3, 1, 1, 0)
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["clip"]: row for row in csv.DictReader(file)}
    assert [row["ef_percent"] != "" for row in rows.values()] == [True, False, False]
    assert rows["doubtful"]["ef_reason"] == REASON
    assert rows["masks"]["ef_reason"] == rows["masks"]["refusal"] == SEGMENTS_ONLY


def segments_only():
    return CARD.model_copy(update={"ef_unsupported_because": SEGMENTS_ONLY})


def test_a_model_for_masks_only_gives_no_ef_and_says_why(tmp_path, drawn, capsys):
    analysis = heart(card=segments_only())
    folder = write_results(analysis, tmp_path / "clip", pdf=True)
    show_analysis(analysis, folder)
    printed = capsys.readouterr().out
    assert_states_no_number(folder, {analysis.measurement.ef_percent}, [*drawn, printed])
    for text in ("".join(drawn), " ".join(printed.split()), prose(folder / "report.html")):
        assert "no EF" in text and "for masks only" in text
    report = json.loads((folder / "report.json").read_text())
    assert report["ef_reliable"] is None and report["ef_unreliable_percent"] is None
    assert (analysis.ef.kind, analysis.ef_percent) == ("none", None)
    assert analysis.measurement.ef_percent  # what was measured can still be studied


def test_two_planes_state_no_more_than_each_of_them(tmp_path, drawn, capsys):
    pair = BiplaneAnalysis(a4c=heart(), a2c=doubtful(source="x_A2C.avi"))
    folder = write_biplane(pair, tmp_path / "x")
    show_biplane(build_biplane_report(pair), folder)
    page = prose(folder / "report.html")
    # the A4C plane alone is reliable, and is all that is stated
    alone = f"{pair.a4c.ef_percent:.0f} %"
    assert pair.ef.kind == "unreliable" and "A2C: " + REASON in page
    assert f"not reliable {alone} not reliable" in " ".join(page.split())
    assert alone not in page[page.index("A2C: Volume over time") :]
    assert "31 to 63 %" in page and page.count("not reliable") >= 3
    row = row_of(folder / "registry.csv")
    assert (row["ef_percent"], row["ef_grade"], row["a2c_ef_percent"]) == ("", "", "")
    assert row["ef_reliable"] == "False" and row["a4c_ef_percent"]
    assert "EF │ not reliable" in " ".join(capsys.readouterr().out.replace("┃", "│").split())


def test_the_biplane_sheet_has_pictures_curves_and_model(tmp_path):
    pair = BiplaneAnalysis(a4c=heart(), a2c=heart(source="x_A2C.avi"))
    page = (write_biplane(pair, tmp_path / "x") / "report.html").read_text()
    assert page.count('src="data:image/jpeg') == 4 and page.count('class="lv"') == 2
    assert page.count("model made-up (Apache-2.0)") == 2
    assert pair.ef.kind == "plain" and not pair.ef.grade  # no interval, no class


def test_the_biplane_pdf_states_what_the_page_does(tmp_path, drawn):
    good, doubt = heart(source="x_A2C.avi"), doubtful(source="y_A2C.avi")
    for name, a2c in (("good", good), ("doubt", doubt)):
        drawn.clear()
        pair = BiplaneAnalysis(a4c=heart(), a2c=a2c)
        folder = write_biplane(pair, tmp_path / name, pdf=True)
        assert (folder / "report.pdf").read_bytes().startswith(b"%PDF")
        assert {name, pair.ef.headline} <= set(drawn)
        sides = (pair.ef, pair.a4c.ef, pair.a2c.ef)
        rows = {
            drawn[at]: drawn[at + 1 : at + 4] for at in range(drawn.index("biplane"), len(drawn))
        }
        assert rows["Ejection fraction"] == [one.value or one.headline for one in sides]
        assert rows["EF interval"] == [one.interval_span or "none" for one in sides]
        volumes = [bool(text) for text in rows["End-diastolic volume"]]
        assert volumes == ([True] * 3 if name == "good" else [False, True, False])
    first = (tmp_path / "good" / "report.pdf").read_bytes()
    again = write_biplane(BiplaneAnalysis(a4c=heart(), a2c=good), tmp_path / "x" / "good", pdf=True)
    assert (again / "report.pdf").read_bytes() == first
    write_biplane(BiplaneAnalysis(a4c=heart(), a2c=good), tmp_path / "good", force=True)
    assert not (tmp_path / "good" / "report.pdf").exists()


def test_part_of_a_beat_stands_in_the_headline(tmp_path, drawn, capsys):
    whole = heart()
    part = whole.measurement.model_copy(update={"is_part_of_beat": True})
    analysis = replace(whole, measurement=part)
    folder = write_results(analysis, tmp_path / "clip", pdf=True)
    show_analysis(analysis, folder)
    for text in ("".join(drawn), capsys.readouterr().out, prose(folder / "report.html")):
        assert "part of a beat" in text
    assert re.search(r'"headline caution">part of a beat<', (folder / "report.html").read_text())
    assert analysis.ef.kind == "part_of_beat" and not analysis.ef.grade


def test_pages_speak_plainly_and_the_terminal_names_options(tmp_path, drawn, capsys):
    analysis = heart(view=View.UNKNOWN)
    codes = {warning.code for warning in (*analysis.warnings, *analysis.notes)}
    folder = write_results(analysis, tmp_path / "clip", pdf=True)
    show_analysis(analysis, folder)
    printed = capsys.readouterr().out
    assert "--view" in printed and "(view_unknown)" in printed
    for text in ("".join(drawn), prose(folder / "report.html")):
        assert "The view is not stated" in text
        assert not re.search(r"--[a-z]", text)
        assert [code for code in codes if "_" in code and code in text] == []


def test_the_ed_and_es_of_every_beat_are_marked(tmp_path):
    analysis = heart()
    beats: tuple[BeatMeasurement, ...] = analysis.measurement.beats
    assert len(beats) > 1
    labels = [text.get_text() for text in analysis.plot().axes[0].texts]
    assert [sum(label.startswith(name) for label in labels) for name in ("ED", "ES")] == [2, 2]
    folder = write_results(analysis, tmp_path / "clip")
    with (folder / "frames.csv").open(encoding="utf-8", newline="") as file:
        phases = {int(row["frame_index"]): row["phase"] for row in csv.DictReader(file)}
    for beat in beats:
        assert (phases[beat.ed_frame], phases[beat.es_frame]) == ("ED", "ES")


@pytest.mark.parametrize(
    ("analysis", "code", "words"),
    [
        (doubtful(), 1, "EF given for 0 of 2 clips (not reliable: 2)"),
        (heart(card=segments_only()), 1, "EF given for 0 of 2 clips (no EF: 2)"),
        (heart(), 0, "EF given for 2 of 2 clips"),
    ],
)
def test_the_command_counts_as_an_ef_only_what_may_be_stated(
    tmp_path, monkeypatch, analysis, code, words
):
    analyzer = SimpleNamespace(model_card=CARD, analyze=lambda clip, **options: analysis)
    monkeypatch.setattr("echoseg.inference.analyzer.Analyzer", lambda *args: analyzer)
    monkeypatch.setattr("echoseg.io.load_clip", lambda source, **options: analysis.clip)
    names = [tmp_path / name for name in ("a.avi", "b.avi")]
    for name in names:
        name.touch()
    command = ["analyze", *map(str, names), "-o", str(tmp_path / "out"), "--no-pages"]
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, result.output.splitlines()[-1]) == (code, words)
    number = f"{analysis.measurement.ef_percent:.0f} %"
    assert (number in result.output) is (analysis.ef.kind == "plain")


def test_the_count_of_efs_reads_well_for_none_one_and_many():
    def words(clips, withheld=0, none=0, failed=0):
        return count_efs(clips, withheld=withheld, none=none, failed=failed)

    assert words(0) == "EF given for 0 of 0 clips"
    assert words(1) == "EF given for 1 of 1 clip"
    assert words(1, failed=1) == "EF given for 0 of 1 clip (failed: 1)"
    assert words(9, 2, 3, 1) == "EF given for 3 of 9 clips (not reliable: 2, no EF: 3, failed: 1)"


def test_a_live_line_shows_the_statement():
    reading = FrameResult(
        frame_index=9, time_s=3.0, mask=np.zeros((8, 8), np.uint8), volume_ml=80.0,
        volume_px3=None, last_ed_s=1.0, last_es_s=1.4, ef=state_ef(61.2), num_beats=3, beat=None,
        reset="", latency_s=0.02,
    )  # fmt: skip
    assert describe(reading) == "3.0 s  LV 80 ml  EF 61 % (3 beats)"
    ranges = state_ef(61.2, interval=INTERVAL).interval_span
    for ef, words in (
        (state_ef(61.2, interval=INTERVAL), f"EF 61 % ({ranges}, 3 beats)"),
        (state_ef(61.2, reliable=False, reason="x"), "EF not reliable (3 beats)"),
        (state_ef(61.2, is_part_of_beat=True), "EF 61 % (part of a beat) (3 beats)"),
        (state_ef(None, reason=SEGMENTS_ONLY), "no EF"),
        (state_ef(None, reason=NO_BEAT), "no whole beat yet"),
        (state_ef(None, reason=NO_RECENT_BEAT), "no recent beat"),
        (state_ef(None, reason=BEING_CHECKED), "EF being checked"),
    ):
        assert describe(replace(reading, ef=ef)) == f"3.0 s  LV 80 ml  {words}"


@pytest.mark.parametrize(
    ("ef", "low", "high", "grade"),
    [
        (44, 30, 58, "reduced to preserved, mildly reduced likeliest"),
        (60, 52, 70, "preserved"),
        (52, 47, 60, "mildly reduced to preserved, preserved likeliest"),
        (39, 41.2, 48.0, "mildly reduced"),  # an interval may lie beside its EF
        (20, 5, 40.4, "reduced"),
    ],
)
def test_a_class_is_what_the_interval_allows(ef, low, high, grade):
    interval = INTERVAL.model_copy(update={"low_percent": low, "high_percent": high})
    assert grade_within(ef, interval) == grade
    assert state_ef(ef, reliable=True, interval=interval).grade == grade
    assert state_ef(ef, reliable=False, interval=interval).grade == ""


@pytest.mark.parametrize(
    ("message", "plain"),
    [
        (
            "Unknown. Give --view (view) if the clip shows one.",
            "Unknown. Give the view if the clip shows one.",
        ),
        ("Too slow; set --fps (fps) if it is known", "Too slow; set the frame rate if it is known"),
        (
            "A --spacing-mm (spacing_mm) is that of a copy.",
            "A stated pixel spacing is that of a copy.",
        ),
        (
            "It names one. Use --private (private), or mend it first (echoseg deidentify).",
            "It names one. Use the option that blackens it, or mend it first.",
        ),
        ("The spacing 9 x 9 mm is odd.", "The spacing 9 x 9 mm is odd."),
        ("Smoothed. Turn it off with smoothing=False (--no-smoothing).", "Smoothed."),
        ("It was lost; raise --reconnect (reconnect_s) to wait longer", "It was lost."),
        ("Set --size to the frames'", ""),
    ],
)
def test_options_are_in_plain_words_what_they_state_or_left_out(message, plain):
    assert plain_words(message) == plain
