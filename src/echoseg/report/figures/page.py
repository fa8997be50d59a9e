"""One self-contained page of one clip: warnings first, the loop, ED and ES, the curve, numbers."""

import base64
from html import escape
from io import BytesIO

from echoseg.inference.analysis import Analysis
from echoseg.report.figures.overlay import frame_picture
from echoseg.report.figures.tables import beats_table, main_table, sizes_table
from echoseg.report.schema import Caution, Report

STYLE = """
:root { color-scheme: light dark; --ink: #17202a; --dim: #5d6b7a; --paper: #fff; --card: #f3f5f8;
  --line: #dbe1e8; --alert: #8a4b00; --alert-paper: #fff3e0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ecf1; --dim: #97a3b1; --paper: #0f141a;
  --card: #19212a; --line: #2b3642; --alert: #ffc980; --alert-paper: #33240d; } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1080px; padding: 24px; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.4rem; margin: 0 0 16px; overflow-wrap: anywhere }
.use { color: var(--dim); margin: 0 }
h2 { font-size: 1.05rem; margin: 0 0 8px }
.note { color: var(--dim); font-size: .9rem; margin: 2px 0 16px }
.alert { background: var(--alert-paper); color: var(--alert); border-left: 4px solid currentColor;
  border-radius: 6px; padding: 12px 16px; margin: 0 0 20px }
.alert ul, .notes ul { margin: 0; padding-left: 20px } .refusal { font-weight: 600 }
.cols { display: grid; grid-template-columns: 3fr 2fr; gap: 20px; align-items: start;
  margin-bottom: 20px }
@media (max-width: 760px) { .cols { grid-template-columns: 1fr } }
video, img { width: 100%; border-radius: 8px; display: block; background: #000 }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 12px }
.card { background: var(--card); border-radius: 10px; padding: 16px; margin-bottom: 20px }
table { border-collapse: collapse; width: 100% } th { text-align: left; font-weight: 400;
  color: var(--dim) } td { text-align: right; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere } th, td { padding: 5px 0; border-bottom: 1px solid var(--line) }
.wide { font-size: .92rem } .wide th { max-width: 22rem } .wide th, .wide td { padding-right: 12px }
.big td { font-size: 1.7rem; font-weight: 650 } figcaption { color: var(--dim); font-size: .9rem }
figure { margin: 0 } code { font-size: .8rem }
@media print { :root { color-scheme: light; --ink: #000; --dim: #444; --paper: #fff; --card: #fff;
  --line: #bbb; --alert: #8a4b00; --alert-paper: #fff } body { padding: 0; max-width: none }
  video { display: none } .cols { grid-template-columns: 1fr }
  .card, .alert { break-inside: avoid; border: 1px solid var(--line) } }
"""


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _still(analysis: Analysis, frame_index: int | None, name: str) -> str:
    if frame_index is None:
        return ""
    buffer = BytesIO()
    frame_picture(analysis, frame_index).save(buffer, "JPEG", quality=88)
    uri = _data_uri("image/jpeg", buffer.getvalue())
    caption = f"{name}, frame {frame_index}"
    return f'<figure><img src="{uri}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'


def alert(warnings: tuple[Caution, ...], refusal: str) -> str:
    """Return what is to be read before the numbers; nothing where there is nothing."""
    items = [f"<li>{escape(w.message)} <code>{escape(w.code)}</code></li>" for w in warnings]
    if refusal:
        items.insert(0, f'<li class="refusal">No EF: {escape(refusal)}</li>')
    if not items:
        return ""
    title = "<h2>Before you read the numbers</h2>"
    return f'<section class="alert">{title}<ul>{"".join(items)}</ul></section>'


def _notes(report: Report) -> str:
    items = [f"<li>{escape(n.message)} <code>{escape(n.code)}</code></li>" for n in report.notes]
    if not items:
        return ""
    title = "<h2>How the numbers were read</h2>"
    return f'<section class="card notes">{title}<ul>{"".join(items)}</ul></section>'


def card(title: str, content: str) -> str:
    """Return a titled part of the page; nothing without content."""
    return f'<section class="card"><h2>{title}</h2>{content}</section>' if content else ""


def page_html(analysis: Analysis, report: Report, overlay_mp4: bytes, curve: bytes) -> str:
    """Return the page; video and pictures are inside it and nothing is fetched."""
    name = escape(report.input.file_name or "clip")
    stills = _still(analysis, report.results.ed_frame, "ED") + _still(
        analysis, report.results.es_frame, "ES"
    )
    video = _data_uri("video/mp4", overlay_mp4)
    model = "masks as given"
    if report.model is not None:
        model = (
            f"model {report.model.name} ({report.model.licence}), "
            f"weights sha256 {report.model.sha256[:16]}"
        )
    made_by = (
        f"echoseg {report.software.version}, {model}, "
        f"input sha256 {report.input.sha256[:16]}. {report.results.method}."
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name} - echoseg</title><style>{STYLE}</style></head><body>
<p class="use"><strong>{escape(report.disclaimer)}</strong></p><h1>{name}</h1>
{alert(report.warnings, report.results.refusal)}
<div class="cols"><div><video src="{video}" autoplay loop muted controls playsinline></video></div>
<div class="card">{main_table(report)}</div></div>
<section class="card"><h2>End of diastole, end of systole</h2>
<div class="pair">{stills}</div></section>
<section class="card"><h2>Volume over time</h2>
<img src="{_data_uri("image/png", curve)}" alt="LV volume over time"></section>
{card("Beats", beats_table(report))}
{card("All measurements", sizes_table(report))}
{_notes(report)}
<p class="note">{escape(made_by)}</p>
</body></html>
"""
