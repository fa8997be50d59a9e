"""The report as page, print and PDF: content, sheets, tags, colors, names that are hostile."""

import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from echoseg.clip import View
from echoseg.inference.analysis import analyze_masks
from echoseg.inference.ef_statement import state_ef
from echoseg.inference.reading import Reading
from echoseg.report.biplane import BiplaneAnalysis
from echoseg.report.figures.page import clip_content, page_html
from echoseg.report.figures.pdf import report_pdf
from echoseg.report.html import keep_units
from echoseg.report.schema import Report, build_report
from echoseg.report.writer import write_biplane, write_results
from heart_makers import beating
from report.figures.test_curve_svg import CARD, RELIABILITY

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
POPPLER = shutil.which("pdfinfo") and shutil.which("pdftotext")


def heart(num_beats=3, source="x_A4C.avi", view=View.A4C):
    from echoseg.clip import Clip

    masks, times, _ = beating(30 * num_beats + 20, phase=0.5)
    clip = Clip(
        frames=60 * masks, times_s=times, spacing_mm=(1.0, 1.0), view=view, source=source,
        study="ab12", acquired_on="2026-01-03",
    )  # fmt: skip
    analysis = analyze_masks(clip, masks)
    return replace(analysis, model=CARD, reliability=RELIABILITY)


def chromium(tmp_path, page, *options):
    if CHROMIUM is None:
        pytest.skip("no chromium")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", *options,
        f"--user-data-dir={tmp_path / 'profile'}", page.as_uri(),
    ]  # fmt: skip
    subprocess.run(command, capture_output=True, timeout=90, check=True)


def info(path):
    run = subprocess.run(["pdfinfo", path], capture_output=True, text=True, check=True)
    return dict(re.findall(r"^(\w[\w ]*):\s*(.*)$", run.stdout, re.MULTILINE))


def content_of(analysis):
    return clip_content(analysis, build_report(analysis))


@pytest.mark.skipif(not POPPLER, reason="no poppler")
@pytest.mark.parametrize("num_beats", [1, 8])
def test_the_pdf_is_tagged_titled_searchable_and_of_two_sheets(tmp_path, num_beats):
    folder = write_results(heart(num_beats), tmp_path / "x", pdf=True)
    stated = info(folder / "report.pdf")
    assert stated["Title"] == "Left ventricle: x_A4C.avi - echoseg"
    assert stated["Tagged"] == "yes" and int(stated["Pages"]) <= 2
    command = ["pdftotext", "-layout", folder / "report.pdf", "-"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    words = " ".join(text.replace("\u00a0", " ").split())
    for known in (
        "Ejection fraction",
        "90 % interval 31 to 63 %",
        "Heartbeats",
        "Signature",
        "2026-01-03",
        "Research use only, not a medical device.",
        "LV volume (ml)",
    ):
        assert known in words, known  # fmt: skip


def test_the_printed_page_has_two_sheets_at_most(tmp_path):
    for num_beats in (1, 8):
        folder = write_results(heart(num_beats), tmp_path / f"{num_beats}")
        printed = tmp_path / f"{num_beats}.pdf"
        chromium(tmp_path, folder / "report.html", f"--print-to-pdf={printed}")
        counts = [int(n) for n in re.findall(rb"/Type /Pages\s*/Count (\d+)", printed.read_bytes())]
        assert max(counts) <= 2, counts


def test_two_planes_are_two_sheets_and_say_so_everywhere(tmp_path):
    pair = BiplaneAnalysis(a4c=heart(), a2c=heart(source="x_A2C.avi", view=View.A2C))
    folder = write_biplane(pair, tmp_path / "x", pdf=True)
    page = (folder / "report.html").read_text("utf-8")
    assert (
        len(re.findall("Heartbeats[^<]*</h2>", page)) == 2
        and "biplane" in page
        and "Signature" in page
    )
    content = (folder / "report.pdf").read_bytes()
    assert max(int(n) for n in re.findall(rb"/Count (\d+)", content)) <= 2 or POPPLER
    if POPPLER:
        assert int(info(folder / "report.pdf")["Pages"]) <= 2


@pytest.mark.parametrize("mode", [0, 1])
def test_the_page_is_whole_in_dark_and_in_light(tmp_path, mode):
    """No white box on a dark page, around the curve or anywhere, none dark on a light one."""
    analysis = heart()
    page = page_html(analysis, content_of(analysis))
    (tmp_path / "page.html").write_text(re.sub(r"<img [^>]*>", "", page), encoding="utf-8")
    picture = tmp_path / "page.png"
    chromium(
        tmp_path, tmp_path / "page.html", "--window-size=1000,1500", f"--screenshot={picture}",
        f"--blink-settings=preferredColorScheme={mode}",
    )  # fmt: skip
    grey = np.asarray(Image.open(picture).convert("L")).astype(int)
    bright = (grey > 200).mean()
    assert bright < 0.05 if mode == 0 else bright > 0.85


def test_a_reader_is_named_with_what_the_network_had_stated():
    analysis = heart()
    own = state_ef(48.2, reliable=True, interval=RELIABILITY.interval)
    reading = Reading(
        reader="Dr. A <b>", read_on="2026-02-01", decision="accepted", reason="apex moved",
        is_corrected=True, network_ef=own, network="camus", network_sha256="ab" * 32,
    )  # fmt: skip
    corrected = replace(analysis, model=None, reliability=None, reading=reading)
    content = content_of(corrected)
    page = page_html(corrected, content).replace("\u00a0", " ")
    assert "Read by Dr. A &lt;b&gt; on 2026-02-01: accepted (apex moved)." in page
    assert "The network's own result: EF 48 %; 90 % interval 31 to 63 %" in page.replace(
        "&#39;", "'"
    )
    assert "network camus abababababab, corrected by reader" in page
    assert "reliability not checked" in page  # the interval was the network's
    back = Report.model_validate_json(build_report(corrected).model_dump_json())
    assert back.reading == reading and back.analyzed_on == analysis.analyzed_on


@pytest.mark.parametrize(
    "name",
    ['#panic("x") *b* $1$ @a.avi', "\u5fc3 \U0001fac0 \u0642\u202e.avi", "<x>&.avi"],
)
def test_a_hostile_name_is_text_in_page_and_pdf(name):
    analysis = heart(source=name)
    content = content_of(analysis)
    assert report_pdf(content).startswith(b"%PDF")
    page = page_html(analysis, content)
    assert "<x>" not in page


def test_the_page_runs_its_own_script_only_and_says_so_to_the_browser():
    analysis = heart()
    page = page_html(analysis, content_of(analysis), "data:video/mp4;base64,")
    assert page.count("<script>") == 1
    import base64
    import hashlib

    script = page[page.index("<script>") + 8 : page.index("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page.replace("&#39;", "'")
    assert "<script>" not in page_html(analysis, content_of(analysis))


def test_two_runs_give_the_same_bytes():
    analysis = heart()
    assert report_pdf(content_of(analysis)) == report_pdf(content_of(analysis))


def test_tables_have_heads_and_pictures_words():
    page = page_html(heart(), content_of(heart()))
    heads = re.findall(r"<th\b[^>]*>", page)
    assert heads and all('scope="' in head for head in heads)
    assert all('alt=""' not in one for one in re.findall(r"<img [^>]*?alt=\"[^\"]*\"", page))
    assert all("aria-label=" in one for one in re.findall(r"<svg [^>]*>", page))
    assert page.index("<h1>") < page.index("<h2")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("42 to 77 %", "42 to 77\u00a0%"),
        ("38 ml; 20 Hz.", "38\u00a0ml; 20\u00a0Hz."),
        ("0.15 s. The own", "0.15\u00a0s. The own"),
        ("3 segments", "3 segments"),
    ],
)
def test_units_stay_with_their_numbers(text, kept):
    assert keep_units(text) == kept
