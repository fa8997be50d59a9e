"""The summary of an analysis on the terminal: a small table, then warnings and notes."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from echoseg.cli.console import one_line, public
from echoseg.clip import ClipWarning
from echoseg.inference.analysis import Analysis
from echoseg.report.biplane import BiplaneReport
from echoseg.report.schema import ef_statement


def show_analysis(analysis: Analysis, folder: Path) -> None:
    """Print the summary of one clip."""
    measurement = analysis.measurement
    name = one_line(Path(analysis.clip.source).name) or "clip"
    table = Table(show_header=False, title=escape(name), title_justify="left")

    def row(name: str, value: float | int | None, unit: str = "", digits: int = 0) -> None:
        if value is not None:
            table.add_row(name, f"{value:.{digits}f}{unit}")

    row("ED frame", measurement.ed_frame)
    row("ES frame", measurement.es_frame)
    ef = analysis.ef
    if ef.kind != "none":
        table.add_row("EF", ef.text.removeprefix("EF "), style="" if ef.kind == "plain" else "red")
    if ef.interval:
        table.add_row(f"EF, {ef.interval_name}", ef.interval_span)
    is_unchecked = ef.value and analysis.ef_reliable is None
    for label, text in (
        ("reliability", "not checked: no interval, no class" if is_unchecked else ""),
        ("EF class", ef.grade),
        ("measured in", measurement.beats_text),
    ):
        if text:
            table.add_row(label, text)
    if ef.value:
        row("EF, SD over beats", measurement.ef_sd_points, " points", 1)
        row("EDV", measurement.edv_ml, " ml")
        row("ESV", measurement.esv_ml, " ml")
        row("stroke volume", measurement.stroke_volume_ml, " ml")
    caveat = f", {ef.caveat}" if ef.caveat else ""
    row("contour strain", measurement.gls_percent, f" %{caveat}", 1)
    row("heart rate", measurement.heart_rate_bpm, f" bpm{caveat}")
    console = Console(soft_wrap=False)
    if table.row_count:
        console.print(table)
    else:
        console.print(name, markup=False)
    if ef.kind == "none":
        console.print(f"no EF: {one_line(ef.reason)}", style="bold red", markup=False)
    _print_messages(console, analysis.warnings, "yellow")
    _print_messages(console, analysis.notes, "dim")
    console.print(public(f"written to {folder}"), markup=False)


def _print_messages(console: Console, messages: Iterable[ClipWarning], style: str) -> None:
    for message in messages:
        text = f"{one_line(message.message)} ({message.code})"
        console.print(text, style=style, markup=False)


def show_biplane(report: BiplaneReport, folder: Path) -> None:
    """Print the summary of two views of a heart."""
    columns = (report, report.a4c, report.a2c)
    table = Table("", "biplane", "A4C", "A2C", title=escape(folder.name), title_justify="left")
    sides = [ef_statement(one) for one in columns]
    table.add_row("EF", *(ef.text.removeprefix("EF ") for ef in sides))
    if any(ef.interval for ef in sides):
        table.add_row("EF interval", *(ef.interval_span for ef in sides))
    for name, key in (("EDV", "edv_ml"), ("ESV", "esv_ml")):
        pairs = zip(columns, sides, strict=True)
        values = [getattr(one.results, key) if ef.value else None for one, ef in pairs]
        table.add_row(name, *("" if value is None else f"{value:.0f} ml" for value in values))
    console = Console(soft_wrap=False)
    console.print(table)
    if sides[0].kind == "none":
        console.print(f"no biplane EF: {report.ef_reason}", style="bold red", markup=False)
    _print_messages(console, report.warnings, "yellow")
    console.print(public(f"written to {folder}"), markup=False)
