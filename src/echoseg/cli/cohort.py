"""`echoseg analyze FOLDER`: a cohort."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from echoseg.cli.console import progress_bar, public, show_backup, show_notice
from echoseg.errors import ConfigError

if TYPE_CHECKING:
    from echoseg.report.cohort import RunOptions, Settings


def run_cohort(
    clips: Sequence[Path], options: dict[str, Any], output: Path, run_options: dict[str, Any]
) -> None:
    """Analyze a cohort and exit with the exit code.

    Raises:
        EchosegError: If it cannot be started or resumed.
    """
    from echoseg.cli.analyze import count_efs, write_all_dicom
    from echoseg.report import cohort

    settings, how = cohort_settings(options, run_options)
    if names := options["names"]:
        for folder in clips:
            names.hide_folder(folder)
    sources = cohort.find_clips(clips, output)
    sources = sources.hidden(names, clips) if names else sources
    with progress_bar("cohort" if names else output.name, "clips") as update:
        done = cohort.run_cohort(
            sources,
            settings,
            output,
            options=how,
            progress=update,
        )
    typer.echo(
        count_efs(done.clips, withheld=done.unreliable, none=done.without_ef, failed=done.failed)
    )
    tables = (cohort.RESULTS_TABLE, cohort.FAILURES_TABLE, cohort.OTHERS_TABLE)
    others = f"files that are not clips: {done.others}; tables in {output}: {', '.join(tables)}"
    typer.echo(public(others))
    typer.echo(f"audit log: {cohort.AUDIT}, last hash {done.audit_sha256}")
    for backup in done.backups:
        show_backup(backup)
    without = write_all_dicom(output, list(sources.values())) if options["dicom"] else 0
    if done.failed or without or not done.clips:
        raise typer.Exit(1)


def cohort_settings(
    options: dict[str, Any], run_options: dict[str, Any]
) -> tuple["Settings", "RunOptions"]:
    """How the clips of a cohort or study are analyzed, and it is run; prints the model's notice.

    Raises:
        EchosegError: If an option does not apply, or there is no such model.
    """
    from echoseg.parallel import check_jobs
    from echoseg.report.cohort import RunOptions, Settings
    from echoseg.weights.card import find_checkpoint, read_card

    if options["force"]:
        raise ConfigError("--force does not apply to a cohort or study; choose another -o")
    card = read_card(find_checkpoint(options["model"]))
    settings = Settings(
        model=options["model"],
        model_sha256=card.sha256,
        private=options["names"] is not None,
        **options["open_options"],
        **{
            name: options[name]
            for name in ("device", "backend", "smoothing", "force_view", "pdf", "pages")
        },
    )
    run_options = {"jobs": os.cpu_count() or 1} | run_options
    run_options["jobs"] = check_jobs(run_options["jobs"])
    show_notice(card)
    return settings, RunOptions(**run_options)
