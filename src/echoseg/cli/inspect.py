"""`echoseg inspect`: what a file states of itself, and what is taken of it."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoseg.cli.console import one_line
from echoseg.cli.options import AllowOutside, MaxDecoded
from echoseg.errors import EchosegError

if TYPE_CHECKING:
    from echoseg.clip import Clip


def inspect(
    file: Annotated[Path, typer.Argument(help="Clip: a file, or a folder of frames.")],
    max_decoded: MaxDecoded = 2.0,
    allow_outside: AllowOutside = False,
) -> None:
    """Print what a file states of time, scale, view and format, and what is taken of it.

    Of elements that identify a patient only the names are printed: send the output with a report
    of an error. Exit code 1: the file cannot be read as a clip, and the last line says why.
    """
    from importlib.metadata import version

    from echoseg.io import load_clip
    from echoseg.io.describe import describe

    typer.echo(f"echoseg {version('echoseg')}")
    try:
        for title, rows in describe(file).items():
            _show(title, rows.items())
        clip = load_clip(
            file, allow_damaged=True, max_decoded_gib=max_decoded, allow_outside=allow_outside
        )
    except (EchosegError, OSError) as error:
        typer.echo(f"no clip: {one_line(str(error)).replace(str(file), file.suffix or 'FILE')}")
        raise typer.Exit(1) from None
    _show("used", _reading(clip))
    _show("warnings", ((warning.code, warning.message) for warning in clip.warnings))


def _reading(clip: "Clip") -> Iterable[tuple[str, str]]:
    """What the clip was read as, and of each quantity every source, with the one that is used."""
    from echoseg.io.arbitration import describe

    yield clip.format_name, repr(replace(clip, source=""))
    yield "R waves", str(len(clip.r_wave_times_s))
    for decision in clip.sources:
        for index, one in enumerate(decision.statements):
            use = "used" if index == decision.choice else one.unused_because or "not used"
            use = f"{use}, contradicts" if index in decision.contradicting else use
            yield decision.quantity, f"{describe(decision.quantity, one)}: {use}"


def _show(title: str, rows: Iterable[tuple[str, object]]) -> None:
    lines = [f"  {one_line(name):<27} {one_line(str(value))}" for name, value in rows]
    if lines:
        typer.echo("\n".join((title, *lines)))
