"""`echoseg dicom`: a result folder as DICOM objects of the source's study."""

from pathlib import Path
from typing import Annotated

import typer

from echoseg.cli.options import Force, Keep, input_option, output_option, replacing


def dicom(
    result: Annotated[Path, typer.Argument(help="Result folder of a clip, or of two views.")],
    source: Annotated[
        list[Path],
        input_option(
            help="The DICOM file, or folder of frames, that was analyzed; of two views give both."
        ),
    ],
    output: Annotated[
        Path | None,
        output_option("-o", "--output", help="Output folder (default: dicom in RESULT)."),
    ] = None,
    simplified: Annotated[
        bool,
        output_option(
            "--simplified", help="SR by TID 5300 (Simplified Adult Echo), in place of TID 5200."
        ),
    ] = False,
    force: Force = False,
    keep: Keep = False,
) -> None:
    """Write a result as DICOM: SEG of the masks, SR of the values, PDF, cine of the overlay.

    Of two views there is a SEG of each and one SR. They belong to patient and study of the source,
    of --private results too. Repeated runs give the same identifiers.
    """
    from echoseg.dicom.write import write_dicom

    replace = replacing(force, keep)
    folder = write_dicom(result, *source, output=output, simplified=simplified, force=replace)
    typer.echo(f"DICOM objects in {folder}")
