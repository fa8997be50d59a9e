"""`echoseg inspect`: what a file states of itself, and what is taken of it."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoseg.cli.console import one_line
from echoseg.errors import EchosegError

if TYPE_CHECKING:
    from echoseg.clip import Clip


def inspect(
    file: Annotated[Path, typer.Argument(help="Clip: a file, or a folder of frames.")],
) -> None:
    """Print what a file states of time, scale, view and format, and what is taken of it.

    Of elements that identify a patient only the names are printed: send the output with a report
    of an error. Exit code 1: the file cannot be read as a clip, and the last line says why.
    """
    from importlib.metadata import version

    from echoseg.io import load_clip
    from echoseg.io.describe import describe
    from echoseg.io.formats import find_format

    typer.echo(f"echoseg {version('echoseg')}")
    try:
        for title, rows in describe(file, find_format(file)).items():
            _show(title, rows.items())
        clip = load_clip(file, allow_damaged=True)
    except (EchosegError, OSError) as error:
        typer.echo(f"no clip: {one_line(str(error)).replace(str(file), file.suffix or 'FILE')}")
        raise typer.Exit(1) from None
    _show("used", _reading(clip))
    _show("warnings", ((warning.code, warning.message) for warning in clip.warnings))


def _reading(clip: "Clip") -> Iterable[tuple[str, str]]:
    """What the clip was read as."""
    rate_hz, spacing_mm = clip.frame_rate_hz, clip.spacing_mm
    yield "frames", f"{clip.num_frames} of {clip.size[1]} x {clip.size[0]} pixels"
    yield "time", "unknown" if rate_hz is None else f"{rate_hz:.5g} fps"
    spacing = "unknown" if spacing_mm is None else "{:.5g} x {:.5g} mm".format(*spacing_mm)
    yield "spacing (row x column)", spacing
    yield "view", str(clip.view)
    yield "R waves", str(len(clip.r_wave_times_s))
    if clip.damaged_frames:
        yield "damaged frames", " ".join(map(str, clip.damaged_frames))


def _show(title: str, rows: Iterable[tuple[str, str]]) -> None:
    lines = [f"  {one_line(name):<28}{one_line(value)}" for name, value in rows]
    if lines:
        typer.echo("\n".join((title, *lines)))
