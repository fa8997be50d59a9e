"""`echoseg export`: a checkpoint as a file for other runtimes, checked before it is kept."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoseg.cli.console import fail
from echoseg.errors import EchosegError, OutputError

if TYPE_CHECKING:
    from echoseg.inference.backends.verify import Agreement


def export(
    model: Annotated[str, typer.Argument(help="Name (see `echoseg models`) or .safetensors file.")],
    kind: Annotated[str, typer.Option("--to", help="onnx, openvino or torch-export.")] = "onnx",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; MODEL.onnx by default.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Side of a frame; the model's own.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Write a network's step for ONNX Runtime, OpenVINO or torch, and check it.

    One frame and the state go in, logits and the state come out. What was written is run over the
    demo clip beside torch: it stays only when every logit agrees to 1e-3.
    """
    try:
        path = _path(model, kind, output, force)
        found = _export(model, kind, path, size)
    except EchosegError as error:
        fail(str(error))
        raise typer.Exit(2) from None
    ef = found.ef_difference_points
    typer.echo(
        f"written {path}: logits agree to {found.logit_difference:.1e}, masks "
        f"{found.equal_share:.3%}" + ("" if ef is None else f", EF to {ef:.2f} points")
    )


def _path(model: str, kind: str, output: Path | None, force: bool) -> Path:
    """Return where to write; refuse, before the long work, what must not or cannot be written."""
    from echoseg.files import check_new_file
    from echoseg.inference.backends.export import SUFFIXES, check_name, files_of

    path = Path(f"{Path(model).stem}{SUFFIXES.get(kind, '')}") if output is None else output
    check_name(kind, path)
    try:
        for each in files_of(path):
            check_new_file(each, force)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}); choose another place"
        ) from error
    return path


def _export(model: str, kind: str, path: Path, size: int | None) -> "Agreement":
    from echoseg.inference.backends.export import export
    from echoseg.models.checkpoint import load_model

    network, card = load_model(model)
    return export(network, card, kind, path, size_px=size)
