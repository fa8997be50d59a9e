"""`echoseg audit`: check the log of what was analyzed."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="audit",
    help="Check audit logs. Research software, not a medical device.",
    no_args_is_help=True,
)

_MAX_PROBLEMS = 20


@app.callback()
def root() -> None:
    """Check audit logs."""


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="Audit log, such as audit.jsonl of a cohort.")],
    anchor: Annotated[
        str, typer.Option(help="Hash of a line, kept elsewhere; shows whether the end was cut.")
    ] = "",
) -> None:
    """Check that no line of an audit log was changed, removed, added or moved.

    Lines cut off the end show only with --anchor. Exit codes: 0: whole; 1: changed; 2: not a
    readable file, or invalid command.
    """
    from echoseg.audit import AuditLog
    from echoseg.cli.console import one_line

    result = AuditLog(file).verify(anchor.strip().lower())
    for problem in result.problems[:_MAX_PROBLEMS]:
        typer.echo(one_line(f"{file}: {problem}"))
    if result.problems:
        typer.echo(f"this log was changed (problems: {len(result.problems)})")
        raise typer.Exit(1)
    torn = f", {result.torn} torn by an interruption" if result.torn else ""
    typer.echo(f"{result.records} records{torn}, unbroken; last hash {result.last_sha256}")
