"""`echoseg analyze --study`: the clips of a study, the best of each view, and both together."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from echoseg.cli.analyze import Job, analyze_clip
from echoseg.cli.console import fail, one_line, public, show_backup, show_notice
from echoseg.clip import View
from echoseg.errors import ConfigError, EchosegError, NotAClipError, OutputError

if TYPE_CHECKING:
    from echoseg.clip import Clip
    from echoseg.inference.analyzer import Analyzer
    from echoseg.report.study import Heart


def run_study(
    folder: Path, output: Path, job: Job, *, model: str, device: str, backend: str
) -> None:
    """Analyze the hearts of a folder and exit with the exit code.

    `output` gets a folder per heart and `study.csv`; `job` has the options of every clip.

    Raises:
        EchosegError: If it cannot be started.
    """
    from echoseg.files import check_own_file, csv_text, ensure_dir, write_owned_text
    from echoseg.inference.analyzer import Analyzer
    from echoseg.report.study import COLUMNS, TABLE, find_hearts, hide_names
    from echoseg.report.writer import check_output

    if not folder.is_dir():
        raise ConfigError(f"--study must be a folder of clips, got {folder}")
    if job.names is not None:
        job.names.hide_folder(folder)
    hearts, others = find_hearts(folder, output)
    if job.names is not None:
        hearts, others = hide_names(hearts, others, folder, job.names)
    backups = [check_own_file(output / TABLE, job.force)]
    backups += [check_output(output / heart.name, job.force) for heart in hearts]
    analyzer = Analyzer(model, device, backend)
    show_notice(analyzer.model_card)
    rows: list[tuple[str, ...]] = []
    for heart in hearts:
        _analyze_heart(analyzer, heart, job)
        _write_heart(heart, output / heart.name, job)
        rows += heart.rows()
        heart.best.clear()  # frames and masks of one heart at a time
    rows += [("", name, "", "", "not a clip", why) for name, why in sorted(others.items())]
    with ensure_dir(output):
        write_owned_text(output / TABLE, csv_text(COLUMNS, rows), job.force)
    for backup in backups:
        show_backup(backup)
    outcomes = Counter(row[-2] for row in rows)
    numbers = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
    typer.echo(public(f"{len(rows)} files: {numbers}: {output / TABLE} says why"))
    if "failed" in outcomes or "used" not in outcomes:
        raise typer.Exit(1)


class _OtherView(Exception):  # an outcome, not an error
    """A clip is of neither plane, by its pictures alone."""


def _analyze_heart(analyzer: "Analyzer", heart: "Heart", job: Job) -> None:
    """Analyze every clip that may show a plane; note of the others why they do not count."""

    def check(clip: "Clip") -> None:
        if reason := analyzer.other_view(clip):
            raise _OtherView(reason)

    for clip in heart.clips:
        if clip.view not in (View.A4C, View.A2C, View.UNKNOWN):
            heart.pass_over(clip, f"its {clip.view_from} states {clip.view}")
            continue
        options = {} if clip.view is View.UNKNOWN else {"view": clip.view}
        try:
            heart.add(clip, analyze_clip(analyzer, job, clip.path, check, **options))
        except _OtherView as other:
            heart.pass_over(clip, f"{other}; it was not segmented")
        except OutputError:
            raise
        except NotAClipError as error:
            heart.pass_over(clip, str(error), "not a clip")
        except EchosegError as error:
            fail(str(error))
            heart.pass_over(clip, str(error), "failed")


def _write_heart(heart: "Heart", folder: Path, job: Job) -> None:
    """Write the biplane result, or that of the one plane that there is, and say what is used."""
    from echoseg.cli.table import show_analysis, show_biplane
    from echoseg.report.biplane import BiplaneAnalysis
    from echoseg.report.writer import write_biplane, write_results

    best = {view: analysis for view, (_, analysis) in heart.best.items()}
    if len(best) == 2:
        both = BiplaneAnalysis(a4c=best[View.A4C], a2c=best[View.A2C])
        write_biplane(both, folder, force=job.force, pdf=job.pdf)
        show_biplane(both, folder)
    elif best:
        ((view, analysis),) = best.items()
        write_results(analysis, folder, force=job.force, pdf=job.pdf)
        show_analysis(analysis, folder)
        typer.echo(f"{heart.name} has no other view than {view}, so there is no biplane EF")
    for _, name, view, _, outcome, why in heart.rows():
        typer.echo(f"  {outcome}: {view}: {one_line(name)}: {one_line(why)}")
