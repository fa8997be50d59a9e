"""`echoseg train`: train a segmentation model, optionally with few labels."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoseg.cli.console import INTERRUPTED, fail
from echoseg.errors import ConfigError

if TYPE_CHECKING:
    from echoseg.train.config import TrainConfig


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="METHOD",
            help="Training method: supervised, mssnet, mean_teacher, fixmatch, ..., or "
            "package.module:Method.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run.")] = Path(
        "echoseg-run"
    ),
    data: Annotated[
        list[str] | None,
        typer.Option(help="Data set folder, clips.csv, .npz file or phantom:N; repeatable."),
    ] = None,
    labeled_fraction: Annotated[
        str | None,
        typer.Option(help="Fraction of patients whose masks are used: 5%, 0.05, or 0 for none."),
    ] = None,
    unlabeled_data: Annotated[
        list[str] | None, typer.Option(help="Data whose masks are never used; repeatable.")
    ] = None,
    labeled_frames: Annotated[
        str | None, typer.Option(help="all, or ed_es: only ED and ES of each clip.")
    ] = None,
    init_from: Annotated[
        str | None, typer.Option(help="Initial weights: a shipped name or a checkpoint file.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Network: mssnet, unet, ..., or package.module:Class.")
    ] = None,
    loss: Annotated[
        str | None, typer.Option(help="Supervised loss: package.module:function.")
    ] = None,
    validation: Annotated[str | None, typer.Option(help="Validation data.")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting as field=value, e.g. num_steps=2000; repeatable."),
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Resume the run in this folder.")] = None,
) -> None:
    """Train a segmentation model, optionally semi-supervised with few labels.

    Without --data it trains on 200 simulated clips. Runs are resumable: Ctrl-C and SIGTERM finish
    the current step and save; continue with --resume FOLDER.
    """
    folder = resume or output
    held = set(folder.glob("resume-*.safetensors"))
    try:
        options = {
            "data": tuple(data) if data else None,
            "labeled_fraction": labeled_fraction,
            "unlabeled_data": tuple(unlabeled_data) if unlabeled_data else None,
            "labeled_frames": labeled_frames,
            "init_from": init_from,
            "model": model,
            "loss": loss,
            "validation": validation,
            "seed": seed,
        }
        chosen = {name: value for name, value in options.items() if value is not None}
        config = _config(recipe, chosen | as_settings(settings or []), resume)
        check_can_train()
        from echoseg.train.run_folder import RunFolder, discarded_when_it_fails
        from echoseg.train.train import run_training

        if resume and RunFolder(folder).is_finished():
            typer.echo(f"the run in {folder} is finished already; nothing was done")
            return
        with discarded_when_it_fails(folder):
            best = run_training(config, folder, report=typer.echo, log=typer.echo)
        typer.echo(f"wrote {best}")
    except (KeyboardInterrupt, SystemExit) as stopped:
        if not (resume or set(folder.glob("resume-*.safetensors")) - held):
            raise
        fail(f"continue with echoseg train --resume {folder}")
        # typer.Exit would print it once more
        raise SystemExit(getattr(stopped, "code", INTERRUPTED)) from None


def _config(
    recipe: str | None, options: dict[str, Any], resume: Path | None
) -> "TrainConfig | None":
    """Return the config of a new run, or None to resume one."""
    if resume is not None:
        if recipe is not None or options:
            raise ConfigError("--resume takes no method or setting; it uses those of the run")
        return None
    if recipe is None:
        raise ConfigError("train needs a method, such as mssnet, or --resume FOLDER")
    from echoseg.train import recipes

    return recipes.make(recipe, **options)


def check_can_train() -> None:
    """Refuse before any work where the extra is missing.

    Raises:
        ConfigError: If Lightning Fabric is not installed.
    """
    if find_spec("lightning_fabric") is None:
        raise ConfigError("train needs Lightning Fabric; pip install 'echoseg[train]'")


def as_settings(pairs: list[str]) -> dict[str, Any]:
    """Return fields and values; a value is read as JSON where it can be.

    Raises:
        ConfigError: If a pair is not field=value, or a part is of a field that has none.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        outer, dot, inner = name.partition(".")
        if not equals or not outer or bool(dot) != bool(inner):
            raise ConfigError(f"--set must be field=value, got {pair!r}")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        if dot:
            parts = settings.setdefault(outer, {})
            if not isinstance(parts, dict):
                raise ConfigError(
                    f"--set {pair} must be of a field with parts, {outer} is {parts!r}; leave one "
                    "of the two out"
                )
            parts[inner] = value
        else:
            settings[name] = value
    return settings
