"""`echoseg inspect`: what a file states of itself, and what is taken of it."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from echoseg.cli.console import one_line
from echoseg.cli.options import AllowOutside, MaxDecoded


def inspect(
    file: Annotated[Path, typer.Argument(help="Clip: a file, or a folder of frames.")],
    max_decoded: MaxDecoded = 2.0,
    allow_outside: AllowOutside = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, for programs.")] = False,
) -> None:
    """Print what a file states of time, scale, view and format, and what is taken of it.

    Of fields that may identify a patient only the names are printed, and no text of the file: send
    the output with a report of an error. Exit code 1: the file cannot be read as a clip, and the
    last line is the reason.
    """
    from echoseg.io.describe import describe

    stated = describe(file, max_decoded_gib=max_decoded, allow_outside=allow_outside)
    typer.echo(json.dumps(stated, indent=2) if as_json else "\n".join(_lines(stated)))
    if stated["refusal"]:
        raise typer.Exit(1)


def _lines(stated: dict[str, Any]) -> Iterable[str]:
    """The sections of `describe`, a line per value; empty ones are left out."""
    yield from _section("versions", stated["versions"].items())
    yield from _section("file", stated["file"].items())
    for title, rows in stated["header"].items():
        yield from _section(f"header: {title}", rows.items())
    names = ", ".join(stated["identity"]) or "none"
    yield from _section("identity (names of filled fields, no values)", [("fields", names)])
    yield from _section("clip", (stated["clip"] or {}).items())
    yield from _section("sources", ((one["quantity"], one["text"]) for one in stated["sources"]))
    yield from _section("warnings", ((one["code"], one["message"]) for one in stated["warnings"]))
    if stated["refusal"]:
        yield f"no clip: {one_line(stated['refusal'])}"


def _section(title: str, rows: Iterable[tuple[str, Any]]) -> Iterable[str]:
    lines = [f"  {one_line(name):<27} {one_line(_text(value))}" for name, value in rows]
    return [title, *lines] if lines else []


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_text, value)) if value else "none"
    return "none" if value is None else str(value)
