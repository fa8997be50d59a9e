"""`echoseg export`: a checkpoint as a file for ONNX Runtime, OpenVINO or torch, verified."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoseg.errors import OutputError

if TYPE_CHECKING:
    from echoseg.inference.backends.verify import Agreement


def export(
    model: Annotated[str, typer.Argument(help="Name (see `echoseg models`) or .safetensors file.")],
    kind: Annotated[str, typer.Option("--to", help="onnx, openvino or torch-export.")] = "onnx",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Output file (default: MODEL.onnx).")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Frame size in pixels (default: the model's).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Export one step of a network for ONNX Runtime, OpenVINO or torch.

    Inputs are a frame and the state, outputs are logits and the new state. The file is kept only
    if every logit on the demo clip agrees with torch to 1e-3.
    """
    path = _path(model, kind, output, force)
    agreement = _export(model, kind, path, size)
    ef = agreement.ef_difference_points
    typer.echo(
        f"wrote {path}: logits agree to {agreement.logit_difference:.1e}, masks "
        f"{agreement.equal_share:.3%}" + ("" if ef is None else f", EF to {ef:.2f} points")
    )


def _path(model: str, kind: str, output: Path | None, force: bool) -> Path:
    """The output file, checked before the long work."""
    from echoseg.files import check_new_file
    from echoseg.inference.backends.export import SUFFIXES, check_path, files_of

    path = Path(f"{Path(model).stem}{SUFFIXES.get(kind, '')}") if output is None else output
    check_path(kind, path)
    try:
        for each in files_of(path):
            check_new_file(each, force)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}); choose another -o"
        ) from error
    return path


def _export(model: str, kind: str, path: Path, size: int | None) -> "Agreement":
    from echoseg.inference.backends.export import export
    from echoseg.models.checkpoint import load_model

    network, card = load_model(model)
    return export(network, card, kind, path, size_px=size)
