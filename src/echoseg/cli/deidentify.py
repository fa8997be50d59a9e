"""`echoseg deidentify`: copies of clips without what identifies a patient."""

from pathlib import Path
from typing import Annotated

import typer

from echoseg.cli.console import fail, progress_bar, public, start_private
from echoseg.cli.options import PrivateKey, output_option


def deidentify(
    sources: Annotated[
        list[Path], typer.Argument(help="Clips, or folders of them: DICOM, videos, pictures, ...")
    ],
    output: Annotated[
        Path, output_option("-o", "--output", help="New folder for the copies and their report.")
    ],
    blank_text: Annotated[
        bool,
        typer.Option("--blank-text", help="Blacken what seems to be text inside the sector."),
    ] = False,
    private_key: PrivateKey = None,
) -> None:
    """Copy clips without names, dates, UIDs, texts, and everything outside the ultrasound sector.

    DICOM by PS3.15: Basic Application Level Confidentiality Profile with Clean Pixel Data. What is
    needed to measure stays: pixels of the sector, scale, times, R waves, view. Names and UIDs are
    keyed hashes. Look at the copies before you share them.

    Exit codes: 0 every file was copied; 1 some were not (reasons: the report); 2 nothing was done.
    """
    from echoseg.deidentify.run import REPORT
    from echoseg.deidentify.run import deidentify as run

    names = start_private(True, private_key, output)
    assert names is not None
    for source in sources:
        names.hide_folder(source)
    with progress_bar("de-identify", "files") as update:
        report = run(sources, output, names, update, blank_text=blank_text)
    others = [file for file in report.files if file.outcome == "not copied"]
    for file in others:
        fail(f"{file.name} is not copied: {file.reason}")
    copied = len(report.files) - len(others)
    typer.echo(
        public(f"{copied} of {len(report.files)} files copied to {output}; details in {REPORT}")
    )
    if any(file.outcome == "copied" and not file.is_checked_by_ocr for file in report.files):
        typer.echo("tesseract is not installed: text was looked for by echoseg's detector alone")
    for text in sorted({file.removed_summary for file in report.files if file.removed_summary}):
        typer.echo(f"removed or replaced: {text}")
    typer.echo(f"which file is which: {names.table}")
    if others:
        raise typer.Exit(1)
