"""`echoseg analyze FOLDER`: a cohort, shown as it goes."""

import os
from pathlib import Path
from typing import Any

import typer

from echoseg.cli.console import DISCLAIMER, progress_bar
from echoseg.errors import ConfigError


def run_cohort(
    root: Path, out: Path, how: dict[str, Any], *, jobs: int | None, resume: bool, force: bool
) -> None:
    """Analyse a folder of clips; exit code 1 where a clip has no EF.

    Raises:
        EchosegError: If the command is wrong, or the machine fails; finished clips are kept.
    """
    from echoseg.card import find_checkpoint, read_card
    from echoseg.cohort import FAILURES_TABLE, RESULTS_TABLE, How, analyze_cohort

    if force:
        raise ConfigError(
            "--force must be left out for a folder of clips, whose results are never replaced; "
            "choose another -o, or --resume"
        )
    card = read_card(find_checkpoint(how["model"])).card
    typer.echo(DISCLAIMER)
    if card.notice:
        typer.echo(f"model {how['model']}: {card.notice}")
    with progress_bar(root.name, "clips") as update:
        found = analyze_cohort(
            root,
            out,
            How(**how),
            jobs=(os.cpu_count() or 1) if jobs is None else jobs,
            resume=resume,
            progress=update,
        )
    typer.echo(
        f"{found.num_with_ef} of {found.num_clips} clips have an EF ({out / RESULTS_TABLE}), "
        f"{found.num_failed} have none ({out / FAILURES_TABLE}); {found.num_done_now} were done now"
    )
    if found.num_failed:
        raise typer.Exit(1)
