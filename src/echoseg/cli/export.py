"""`echoseg export`: a checkpoint as a file for other runtimes, checked before it is kept."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoseg.cli.console import fail
from echoseg.errors import ConfigError, EchosegError, OutputError

if TYPE_CHECKING:
    from echoseg.runtime.check import Agreement


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
    from echoseg.runtime.export import SUFFIXES

    if kind not in SUFFIXES:
        raise ConfigError(f"to must be one of {', '.join(SUFFIXES)}, got {kind!r}")
    path = Path(f"{Path(model).stem}{SUFFIXES[kind]}") if output is None else output
    if path.exists() and not force:
        raise OutputError(f"output {path} exists; give --force to replace it, or another name")
    return path


def _export(model: str, kind: str, path: Path, size: int | None) -> "Agreement":
    from echoseg.models.checkpoint import load_checkpoint
    from echoseg.runtime.check import check, compare, demo_frames
    from echoseg.runtime.export import SUFFIXES, export
    from echoseg.runtime.file_steppers import OnnxStepper, OpenVinoStepper, TorchExportStepper
    from echoseg.runtime.torch_stepper import TorchStepper

    network, checkpoint = load_checkpoint(model)
    size = checkpoint.card.image_size if size is None else size
    trial = path.with_name(f".{path.stem}.unchecked{path.suffix}")
    if trial.suffix == SUFFIXES.get(kind) and not trial.parent.is_dir():
        raise OutputError(f"output must be in a folder that is there, {path.parent} is not")
    try:
        export(network, checkpoint, kind, trial, size_px=size)
        readers: dict[str, Any] = {
            "onnx": OnnxStepper,
            "openvino": OpenVinoStepper,
            "torch-export": TorchExportStepper,
        }
        found = compare(TorchStepper(network, size), readers[kind](trial), demo_frames(size))
        check(found, reduced_precision=False)
        for each in (trial.with_suffix(".bin"), trial):
            if each.exists():
                each.replace(path.with_suffix(each.suffix))
    finally:
        for left in (trial, trial.with_suffix(".bin")):
            left.unlink(missing_ok=True)
    return found
