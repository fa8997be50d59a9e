"""`echoseg export`: a checkpoint as a file for ONNX Runtime, OpenVINO or torch, verified."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoseg.cli.console import show_backup
from echoseg.cli.options import ForceFile, KeepFile, replacing

if TYPE_CHECKING:
    from echoseg.files import Replace
    from echoseg.inference.backends.verify import Agreement


def export(
    model: Annotated[str, typer.Argument(help="Name (see `echoseg models`) or .safetensors file.")],
    kind: Annotated[
        str, typer.Option("--to", help="onnx, openvino, torch-export, huggingface, monai.")
    ] = "onnx",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Output file, or folder (default: MODEL.onnx)."),
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Frame size in pixels (default: the model's).")
    ] = None,
    force: ForceFile = False,
    keep: KeepFile = False,
) -> None:
    """Export one step of a network for ONNX Runtime, OpenVINO or torch, or as a repository.

    Inputs are a frame and the state, outputs are logits and the new state. The file is kept only
    if every logit on the demo clip agrees with torch to 1e-3. `huggingface` writes weights and
    model card as a folder to upload, which `--model hf:OWNER/NAME` then loads; `monai` a bundle.
    """
    replace = replacing(force, keep)
    if kind in ("huggingface", "monai"):
        _write_folder(model, kind, output or Path(f"{Path(model).stem}-{kind}"), replace)
        return
    path, backups = _path(model, kind, output, replace)
    agreement = _export(model, kind, path, size, replace)
    ef = agreement.ef_difference_points
    typer.echo(
        f"wrote {path}: logits agree to {agreement.logit_difference:.1e}, masks "
        f"{agreement.equal_share:.3%}" + ("" if ef is None else f", EF to {ef:.2f} points")
    )
    for backup in backups:
        show_backup(backup)


def _path(
    model: str, kind: str, output: Path | None, force: "Replace"
) -> tuple[Path, list[Path | None]]:
    """The output file, checked before the long work, and where what is there will be moved."""
    from echoseg.files import check_new_file
    from echoseg.inference.backends.export import SUFFIXES, check_path, files_of

    path = Path(f"{Path(model).stem}{SUFFIXES.get(kind, '')}") if output is None else output
    check_path(kind, path)
    return path, [check_new_file(each, force) for each in files_of(path)]


def _export(model: str, kind: str, path: Path, size: int | None, force: "Replace") -> "Agreement":
    from echoseg.inference.backends.export import export
    from echoseg.models.checkpoint import load_model

    network, card = load_model(model)
    return export(network, card, kind, path, size_px=size, force=force)


def _write_folder(model: str, kind: str, folder: Path, replace: "Replace") -> None:
    """Write a checkpoint as a folder for others: a repository of the Hub, or a bundle of MONAI."""
    import json

    from echoseg.exchange.monai_bundle import write_bundle
    from echoseg.files import WRITTEN, OwnedFolder, write_mark
    from echoseg.weights.hub import write_folder

    target = OwnedFolder(folder, WRITTEN, replace)
    backup = target.check()
    with target.write() as partial:
        (write_folder if kind == "huggingface" else write_bundle)(model, partial)
        write_mark(partial, WRITTEN, lambda files: json.dumps({"files": files}, indent=1) + "\n")
    show_backup(backup)
    way = (
        "upload it by `hf upload OWNER/NAME DIR`" if kind == "huggingface" else "see docs/README.md"
    )
    typer.echo(f"{target.path}: {way}")
