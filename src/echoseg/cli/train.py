"""`echoseg train`: learn from clips, few of them labelled."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoseg.cli.console import INTERRUPTED, fail
from echoseg.errors import ConfigError, EchosegError

if TYPE_CHECKING:
    from echoseg.train.config import RunConfig
    from echoseg.train.loop import Report


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(help="How to learn: supervised, mssnet, mean_teacher, fixmatch, ..."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run.")] = Path(
        "echoseg-run"
    ),
    data: Annotated[
        list[str] | None,
        typer.Option(help="A data set's folder or clips.csv, an .npz, or phantom:N; repeat it."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Share of patients whose masks may be seen: 5% or 0.05.")
    ] = None,
    frames_labelled: Annotated[
        str | None, typer.Option(help="all, or ends: ED and ES of each clip only.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Weights to start from: a shipped name or a file.")
    ] = None,
    validation: Annotated[str | None, typer.Option(help="What to score on.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of all draws.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="field=value of the run, such as num_steps=2000; repeat it."),
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the run in this folder.")] = None,
) -> None:
    """Train a segmenter; the labels may be few.

    Without --data it learns from 200 clips simulated on the fly. Ctrl-C loses
    nothing, a crash no more than the steps since the last checkpoint: go on with --resume FOLDER.
    """
    try:
        changes = {
            "data": tuple(data) if data else None,
            "labels": None if labels is None else as_share(labels),
            "frames_labelled": frames_labelled,
            "start": start,
            "validation": validation,
            "seed": seed,
        }
        given = {name: value for name, value in changes.items() if value is not None}
        config = _config(recipe, given | as_settings(settings or []), resume)
        _run(config, resume or output)
    except KeyboardInterrupt:
        fail(f"go on with echoseg train --resume {resume or output}")
        raise SystemExit(INTERRUPTED) from None  # typer.Exit would be told once more
    except EchosegError as error:
        fail(str(error))
        raise typer.Exit(2) from None


def _config(recipe: str | None, changes: dict[str, Any], resume: Path | None) -> "RunConfig | None":
    if resume is not None:
        if recipe is not None or changes:
            raise ConfigError(
                "--resume goes on with a run as it was begun; give no recipe or setting beside it"
            )
        return None
    if recipe is None:
        raise ConfigError("train needs a recipe, such as mssnet, or --resume FOLDER")
    from echoseg.train import recipes

    return recipes.make(recipe, **changes)


def _run(config: "RunConfig | None", output: Path) -> None:
    check_can_train()
    from echoseg.train.train import train

    best = train(config, output, report=_show, say=typer.echo)
    typer.echo(f"written {best}")


def _show(report: "Report") -> None:
    shown = "  ".join(
        f"{name.removeprefix('told_')} {value:.4f}" for name, value in report.values.items()
    )
    minutes, seconds = divmod(round(report.left_s), 60)
    typer.echo(f"{report.step}/{report.num_steps}  {shown}  left {minutes}:{seconds:02d}")


def check_can_train() -> None:
    """Refuse before any work where the extra is missing.

    Raises:
        ConfigError: If Lightning Fabric is not installed.
    """
    if find_spec("lightning_fabric") is None:
        raise ConfigError("train needs Lightning Fabric; pip install 'echoseg[train]'")


def as_share(text: str) -> float:
    """Return 0.05 for `5%` and for `0.05`.

    Raises:
        ConfigError: If it is no number.
    """
    try:
        share = float(text.removesuffix("%"))
    except ValueError:
        raise ConfigError(f"labels must be a share such as 5% or 0.05, got {text!r}") from None
    return share / 100 if text.endswith("%") else share


def as_settings(pairs: list[str]) -> dict[str, Any]:
    """Return fields and values; a value is read as JSON where it can be.

    Raises:
        ConfigError: If a pair is not field=value, or a part is of a field that has none.
    """
    found: dict[str, Any] = {}
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
            parts = found.setdefault(outer, {})
            if not isinstance(parts, dict):
                raise ConfigError(
                    f"--set {pair} must be of a field with parts, {outer} is {parts!r}; leave one "
                    "of the two out"
                )
            parts[inner] = value
        else:
            found[name] = value
    return found
