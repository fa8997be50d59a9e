"""The page of a study: the biplane numbers and both planes beside them."""

from html import escape

from echoseg.report.biplane import StudyReport
from echoseg.report.figures.page import STYLE, alert
from echoseg.report.figures.tables import normal_cells, number, row


def study_page_html(report: StudyReport, name: str) -> str:
    """Return the page; it links to the page of each plane in the folders beside it."""
    found, grade = report.results, report.results.ef_grade
    main = [row("Ejection fraction, biplane", number(found.ef_percent, "%", "none"), css="big")]
    if grade is not None:
        main.append(row(f"EF class, {grade.scheme}", grade.name))
    normal = {one.key: one for one in report.normal_ranges}
    head = (
        "<tr><th></th><td>biplane</td><td>A4C alone</td><td>A2C alone</td><td>normal, men</td>"
        "<td>women</td><td>by</td></tr>"
    )
    body = "".join(
        f"<tr><th>{title}</th>{_cells(report, key, unit)}{normal_cells(normal.get(key))}"
        for title, key, unit in (
            ("Ejection fraction", "ef_percent", "%"),
            ("End-diastolic volume", "edv_ml", "ml"),
            ("End-systolic volume", "esv_ml", "ml"),
            ("Stroke volume", "stroke_volume_ml", "ml"),
        )
    )
    links = " ".join(
        f'<a href="{view}/report.html">{view}: {escape(one.input.file_name)}</a>'
        for view, one in (("A4C", report.a4c), ("A2C", report.a2c))
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(name)} - echoseg</title><style>{STYLE}</style></head><body>
<p class="use"><strong>{escape(report.disclaimer)}</strong></p><h1>{escape(name)}</h1>
{alert(report.warnings, found.refusal)}
<section class="card"><table>{"".join(main)}</table></section>
<section class="card"><table class="wide">{head}{body}</table></section>
<p>{links}</p>
<p class="note">echoseg {escape(report.software.version)}. {escape(found.method)}.</p>
</body></html>
"""


def _cells(report: StudyReport, key: str, unit: str) -> str:
    each = (report.results, report.a4c.results, report.a2c.results)
    return "".join(f"<td>{number(getattr(one, key), unit, 'none')}</td>" for one in each)
