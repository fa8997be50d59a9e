"""`echoseg convert`: the masks of a result for 3D Slicer, ITK-SNAP, COCO, CVAT or as EchoNet."""

from pathlib import Path
from typing import Annotated

import typer

from echoseg.cli.console import show_backup
from echoseg.cli.options import Force, Keep, input_option, replacing


def convert(
    result: Annotated[Path, typer.Argument(help="Result folder of one clip.")],
    to: Annotated[str, typer.Option(help="slicer, itk-snap, coco, cvat or echonet.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to create.")],
    clip: Annotated[
        Path | None, input_option(help="The clip that was analyzed: write its frames too.")
    ] = None,
    force: Force = False,
    keep: Keep = False,
) -> None:
    """Write a result's masks for another tool; `echoseg measure` reads what the tool saves."""
    from echoseg.exchange import convert as run
    from echoseg.files import WRITTEN, OwnedFolder

    replace = replacing(force, keep)
    backup = OwnedFolder(output, WRITTEN, replace).check()
    folder = run(result, to, output, clip=clip, force=replace)
    show_backup(backup)
    names = sorted(path.name for path in folder.iterdir() if path.name != WRITTEN)
    typer.echo(f"{folder}: {', '.join(names)}")
