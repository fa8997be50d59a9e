"""`echoseg dicom`: a result folder as DICOM objects of the source's study."""

from pathlib import Path
from typing import Annotated

import typer

from echoseg.cli.options import Force, input_option, output_option


def dicom(
    result: Annotated[Path, typer.Argument(help="Result folder of one clip.")],
    source: Annotated[
        Path, input_option(help="The DICOM file, or folder of frames, that was analyzed.")
    ],
    output: Annotated[
        Path | None,
        output_option("-o", "--output", help="Output folder (default: dicom in RESULT)."),
    ] = None,
    force: Force = False,
) -> None:
    """Write a result as DICOM objects for a PACS: SEG of the masks.

    They belong to patient and study of the source, of --private results too. Repeated runs give the
    same identifiers.
    """
    from echoseg.dicom.write import write_dicom

    typer.echo(f"DICOM objects in {write_dicom(result, source, output=output, force=force)}")
