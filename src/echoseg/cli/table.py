"""The small table of one clip on the terminal."""

from pathlib import Path
from typing import TYPE_CHECKING

from echoseg.cli.console import one_line

if TYPE_CHECKING:
    from echoseg.inference.analysis import Analysis
    from echoseg.report.biplane import Study


def show_analysis(analysis: "Analysis", folder: Path) -> None:
    """Print the small table of one clip."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    found = analysis.measurement
    name = one_line(Path(analysis.clip.source).name) or "clip"
    table = Table(show_header=False, title=escape(name))
    table.title_justify = "left"

    def row(name: str, value: float | int | None, unit: str = "", digits: int = 0) -> None:
        if value is not None:
            table.add_row(name, f"{value:.{digits}f}{unit}")

    row("ED frame", found.ed_frame)
    row("ES frame", found.es_frame)
    row("EF", found.ef_percent, " %")
    if analysis.reliability and (interval := analysis.reliability.interval):
        span = f"{interval.low_percent:.0f} to {interval.high_percent:.0f} %"
        table.add_row(f"EF, {interval.level_percent:.0f} % interval", span)
    row("beats", len(found.beats) or None)
    row("EF, SD over beats", found.ef_sd_points, " points", 1)
    row("EDV", found.edv_ml, " ml")
    row("ESV", found.esv_ml, " ml")
    row("stroke volume", found.dimensions.stroke_volume_ml, " ml")
    row("strain of the contour", found.gls_percent, " %", 1)
    row("heart rate", found.heart_rate_bpm, " bpm")
    if found.refusal:
        table.add_row("no EF", escape(found.refusal), style="bold red")
    for warning in analysis.warnings:
        table.add_row(warning.code, escape(one_line(warning.message)), style="yellow")
    for note in analysis.notes:
        table.add_row(note.code, escape(note.message), style="dim")
    table.add_row("written", escape(str(folder)))
    Console(soft_wrap=False).print(table)


def show_study(study: "Study", folder: Path) -> None:
    """Print the small table of two views of a heart."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    found = study.biplane
    table = Table("", "biplane", "A4C", "A2C", title=escape(folder.name))
    table.title_justify = "left"
    for name, key, unit in (("EF", "ef_percent", "%"), ("EDV", "edv_ml", "ml"),
                            ("ESV", "esv_ml", "ml")):  # fmt: skip
        each = (found, study.a4c.measurement, study.a2c.measurement)
        values = [getattr(one, key) for one in each]
        table.add_row(name, *("none" if v is None else f"{v:.0f} {unit}" for v in values))
    console = Console(soft_wrap=False)
    console.print(table)
    if found.refusal:
        console.print(f"no biplane EF: {found.refusal}", style="bold red", markup=False)
    told = [("", one) for one in found.warnings]
    for name, plane in (("A4C: ", study.a4c), ("A2C: ", study.a2c)):
        told += [(name, one) for one in plane.warnings]
    for name, one in told:
        console.print(f"{name}{one_line(one.message)} ({one.code})", style="yellow", markup=False)
    console.print(f"written {folder}", markup=False)
