"""`echoseg analyze --study`: the clips of a study, the best of each view, and both together."""

from collections import Counter
from pathlib import Path
from typing import Any

import typer

from echoseg.cli.cohort import cohort_settings
from echoseg.cli.console import one_line, progress_bar, public, show_backup
from echoseg.errors import ConfigError


def run_study(
    folder: Path, options: dict[str, Any], output: Path, run_options: dict[str, Any]
) -> None:
    """Analyze the hearts of a folder and exit with the exit code.

    `output` gets a folder per heart and `study.csv`.

    Raises:
        EchosegError: If it cannot be started or resumed.
    """
    from echoseg.report import study

    if not folder.is_dir():
        raise ConfigError(f"--study must be a folder of clips, got {folder}")
    names = options["names"]
    if names is not None:
        names.hide_folder(folder)
    settings, how = cohort_settings(options, run_options)
    with progress_bar("study" if names else folder.name, "clips") as update:
        choices, rows, backup = study.run_study(
            folder, settings, output, names=names, options=how, progress=update
        )
    for choice in choices:
        _show_heart(choice.heart, output / choice.heart, choice.rows)
    outcomes = Counter(row[-2] for row in rows)
    numbers = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
    table = output / study.TABLE
    typer.echo(public(f"{len(rows)} files: {numbers}; reasons in {table}"))
    show_backup(backup)
    without = _write_dicom(folder, output) if options["dicom"] else 0
    if "failed" in outcomes or without or "used" not in outcomes:
        raise typer.Exit(1)


def _write_dicom(folder: Path, output: Path) -> int:
    """Write the DICOM objects of each heart; return how many have none."""
    from echoseg.cli.analyze import write_all_dicom
    from echoseg.report.cohort import find_clips

    return write_all_dicom(output, list(find_clips([folder], output).values()))


def _show_heart(name: str, folder: Path, rows: list[tuple[str, ...]]) -> None:
    """Print the result of a heart, and what became of each of its clips."""
    from echoseg.cli.table import show_biplane
    from echoseg.files import read_json
    from echoseg.report.biplane import BiplaneReport
    from echoseg.report.writer import MARK

    views = [view for _, _, view, _, outcome, _ in rows if outcome == "used"]
    if len(views) == 2 and (report := read_json(folder / MARK, BiplaneReport, "run it again")):
        show_biplane(report, folder)
    elif views:
        typer.echo(f"{name} has no other view than {views[0]}, so there is no biplane EF")
        typer.echo(public(f"written to {folder}"))
    for _, file, view, _, outcome, why in rows:
        typer.echo(f"  {outcome}: {view}: {one_line(file)}: {one_line(why)}")
