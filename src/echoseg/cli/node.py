"""`echoseg node`: clips received by DICOM, analyzed, and their results sent back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoseg.cli.console import DISCLAIMER
from echoseg.errors import ConfigError, validation_message

if TYPE_CHECKING:
    from echoseg.node.queue import Queue
    from echoseg.node.settings import NodeSettings

app = typer.Typer(name="node", help="Receive clips from a PACS, analyze them, send results back.")

_ANY_STATE = "any"


@app.callback(invoke_without_command=True)
def node(
    ctx: typer.Context,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.")] = None,
    aet: Annotated[str | None, typer.Option(help="AE title of the node; ECHOSEG.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="DICOM port; 11112.")] = None,
    web_port: Annotated[int | None, typer.Option(help="Port of DICOMweb and metrics.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where everything is kept.")] = None,
    database_url: Annotated[
        str | None, typer.Option(help="PostgreSQL database; by default SQLite in the folder.")
    ] = None,
    push: Annotated[
        list[str] | None,
        typer.Option(help="Where results go: AET@HOST:PORT or a DICOMweb URL; repeatable."),
    ] = None,
    any_peer: Annotated[
        bool | None, typer.Option("--any-peer", help="Let any AE title and address connect.")
    ] = None,
    quiet_s: Annotated[
        float | None, typer.Option(help="Seconds without a new instance that end a study; 30.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Name or path of a checkpoint.")] = None,
) -> None:
    """Receive clips from a PACS, analyze them, send results back; without a command, run the node.

    Options override the settings of the TOML file. Commands take them too, before their name:
    `echoseg node --config node.toml status`.
    """
    from echoseg.node.settings import read_settings

    settings = read_settings(
        config, aet=aet, host=host, port=port, web_port=web_port, folder=folder, quiet_s=quiet_s,
        database_url=database_url, push=push or None, any_peer=any_peer, model=model,
    )  # fmt: skip
    ctx.obj = settings
    if ctx.invoked_subcommand is None:
        _need_extra()
        from echoseg.node.serve import run_node

        typer.echo(DISCLAIMER, err=True)
        run_node(settings)


@app.command()
def status(
    ctx: typer.Context,
    state: Annotated[
        str, typer.Option(help="Only studies in this state, such as failed.")
    ] = _ANY_STATE,
    limit: Annotated[int, typer.Option(help="Number of studies to list.", min=0)] = 20,
) -> None:
    """Show how many studies and results are in each state, and the newest studies."""
    from contextlib import closing
    from datetime import datetime

    queue = _open_queue(ctx.obj)
    from echoseg.node.records import State

    if state not in (_ANY_STATE, *State):
        raise ConfigError(f"--state must be one of {', '.join(State)}, got {state!r:.40}")
    with closing(queue):
        counts = queue.counts()
        studies = queue.studies([] if state == _ANY_STATE else [State(state)], limit)
    for name, numbers in (("studies", counts.studies), ("results to send", counts.deliveries)):
        parts = [f"{number} {one}" for one, number in numbers.items() if number]
        typer.echo(f"{name}: {', '.join(parts) or 'none'}")
    typer.echo(f"instances: {counts.instances}, {counts.num_bytes / 1e6:.1f} MB")
    for study in studies:
        when = datetime.fromtimestamp(study.last_received_s).isoformat(" ", "seconds")
        reason = f": {study.reason}" if study.reason else ""
        typer.echo(f"{study.name} {study.state} {study.revision} instances, last {when}{reason}")


@app.command()
def retry(
    ctx: typer.Context,
    study: Annotated[
        str, typer.Argument(help="Name of a study, as `status` shows it; all without one.")
    ] = "",
) -> None:
    """Queue failed studies and results again."""
    from contextlib import closing

    with closing(_open_queue(ctx.obj)) as queue:
        number = queue.retry(study)
    typer.echo(f"{number} studies and results queued again")


@app.command()
def fetch(
    ctx: typer.Context,
    source: Annotated[str, typer.Option("--from", help="AET@HOST:PORT or a DICOMweb URL.")],
    study_uid: Annotated[str, typer.Option(help="Study Instance UID.")] = "",
    patient_id: Annotated[str, typer.Option(help="Patient ID.")] = "",
    date: Annotated[str, typer.Option(help="Study date, YYYYMMDD or a range with -.")] = "",
    move: Annotated[
        bool, typer.Option("--move", help="Ask by C-MOVE; the node must run and be known there.")
    ] = False,
) -> None:
    """Fetch studies from a PACS into the queue of the node."""
    from contextlib import closing

    from pydantic import ValidationError

    _need_extra()
    from echoseg.node.fetch import StudyQuery
    from echoseg.node.fetch import fetch as fetch_studies
    from echoseg.node.queue import Queue
    from echoseg.node.settings import Target
    from echoseg.node.store import Store
    from echoseg.private import Pseudonyms

    try:
        query = StudyQuery(study_uid=study_uid, patient_id=patient_id, date=date)
    except ValidationError as error:
        raise ConfigError(validation_message(error)) from None
    settings, target = ctx.obj, Target.parse(source)
    settings.folder.mkdir(parents=True, exist_ok=True)
    with closing(Queue(settings)) as queue:
        store = Store(settings, queue, Pseudonyms(settings.key_file))
        result = fetch_studies(settings, store, target, query, move=move)
    typer.echo(
        f"{result.studies} studies: {result.new} instances new, {result.known} known, "
        f"{result.refused} refused, {result.failed} failed"
    )
    if result.refused or result.failed:
        raise typer.Exit(1)


def _open_queue(settings: "NodeSettings") -> "Queue":
    _need_extra()
    from echoseg.node.queue import Queue

    if not settings.database_url and not settings.database_file.is_file():
        raise ConfigError(
            f"there is no node in {settings.folder}; name its folder (--folder) or its settings "
            "(--config) before the command"
        )
    return Queue(settings)


def _need_extra() -> None:
    """Refuse to go on without the libraries of the extra.

    Raises:
        ConfigError: If one is missing.
    """
    from importlib.util import find_spec

    names = ("sqlalchemy", "pynetdicom", "highdicom")
    missing = [name for name in names if not find_spec(name)]
    if missing:
        raise ConfigError(
            f"echoseg node needs {missing[0]}, which is not installed; pip install 'echoseg[node]'"
        )
