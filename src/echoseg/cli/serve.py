"""`echoseg serve`: the page, and its accounts."""

import os
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from echoseg.cli.console import DISCLAIMER
from echoseg.cli.options import BackendName, demo_clips
from echoseg.errors import ConfigError, validation_message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from echoseg.web.accounts import Accounts
    from echoseg.web.settings import PageSettings


class _ServeGroup(TyperGroup):
    """`serve CLIPS...` is short for `serve page CLIPS...`."""

    default = "page"
    others = ("account", "training")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words after `serve`."""
        return super().parse_args(
            ctx, args if args[:1] and args[0] in self.others else [self.default, *args]
        )


app = typer.Typer(name="serve", cls=_ServeGroup, help="Read, correct and sign clips in a browser.")
account = typer.Typer(name="account", help="Accounts of readers.", no_args_is_help=True)
app.add_typer(account)

Data = Annotated[Path, typer.Option("--data", help="Folder in which everything is kept.")]
DatabaseUrl = Annotated[
    str, typer.Option(help="PostgreSQL database; by default SQLite in the folder.")
]
Name = Annotated[str, typer.Argument(help="Name of the account.")]


@app.command(_ServeGroup.default)
def page(
    clips: Annotated[
        list[Path] | None, typer.Argument(help="Clips and folders to put into the worklist.")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Add the two clips that come with the installation.")
    ] = False,
    data: Data = Path("echoseg-page"),
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; on any but this machine's own, readers sign in."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0: any free one.")] = 8080,
    database_url: DatabaseUrl = "",
    model: Annotated[
        str, typer.Option(help="Name (see `echoseg models`) or .safetensors file.")
    ] = "camus",
    backend: BackendName = "torch",
    jobs: Annotated[int, typer.Option(help="Worker processes that analyze clips.")] = 1,
    sign_in: Annotated[
        bool, typer.Option("--sign-in", help="Readers sign in on this machine too.")
    ] = False,
    double_read: Annotated[
        bool,
        typer.Option("--double-read", help="Two readers read each clip, blinded; readers sign in."),
    ] = False,
    clip_folder: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of this machine from which admins elsewhere may add clips."),
    ] = None,
    server_name: Annotated[
        list[str] | None,
        typer.Option(help="Name under which browsers reach the page; repeatable."),
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(help="IP address of a proxy in front; its X-Forwarded headers count."),
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option(help="Certificate for https, PEM; with --tls-key.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    live_source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=ADDRESS",
            help="Camera or stream that readers may play live, by its name; repeatable.",
        ),
    ] = None,
    live_limit: Annotated[float, typer.Option(help="Minutes after which a live run ends.")] = 30.0,
    node: Annotated[
        Path | None,
        typer.Option(help="Settings of a node (TOML); the clips that it receives are shown too."),
    ] = None,
    show_names: Annotated[
        bool, typer.Option("--show-names", help="Show names of files, not keyed hashes.")
    ] = False,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Do not open the browser.")
    ] = False,
) -> None:
    """Read, correct and sign clips in a browser; ends with Ctrl-C.

    Everything is kept in the folder --data, and is there again at the next start. Who may sign in
    is set by `echoseg serve account`.
    """
    settings = _settings(
        folder=data, host=host, port=port, database_url=database_url, model=model, backend=backend,
        jobs=jobs, sign_in=sign_in, double_read=double_read, clip_folders=tuple(clip_folder or ()),
        server_names=tuple(name.lower() for name in server_name or ()), proxy=proxy, node=node,
        tls_certificate=tls_certificate, tls_key=tls_key, live_limit_min=live_limit,
        live_sources=tuple(live_source or ()), show_names=show_names,
    )  # fmt: skip
    from echoseg.web.serve import serve_page

    typer.echo(DISCLAIMER, err=True)
    if settings.needs_sign_in and not settings.tls_certificate:
        typer.echo(
            "passwords and pictures are sent unencrypted; give --tls-certificate and --tls-key",
            err=True,
        )
    serve_page(
        settings,
        [*(clips or ()), *(demo_clips().values() if demo else ())],
        lambda address: typer.echo(f"the page is at {address} (Ctrl-C ends it)"),
        open_browser=_has_screen() and not no_browser,
    )


def _has_screen() -> bool:
    """Whether a person sits there, with more than a terminal."""
    is_unix_screen = {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    return sys.stdout.isatty() and (sys.platform in ("win32", "darwin") or bool(is_unix_screen))


@app.command()
def training(
    data: Annotated[Path, typer.Argument(help="Folder of the page (--data of `serve`).")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="New folder for the training data.")
    ],
    database_url: DatabaseUrl = "",
) -> None:
    """Write corrected and accepted clips as training data, as the page's button does.

    Stop the server of the folder first; `echoseg train --data OUTPUT` reads what is written.
    """
    settings = _settings(folder=data, database_url=database_url)
    from echoseg.files import locked_dir
    from echoseg.web.app import Page
    from echoseg.web.security import local_reader

    _check_page(data, database_url)
    with locked_dir(data), closing(Page.open(settings)) as page:
        answer = page.readings.write_training_data(output.absolute(), local_reader())
    typer.echo(f"wrote {answer.num_clips} clips in {output}")
    if answer.num_unsigned:
        typer.echo(f"{answer.num_unsigned} corrected clips are not accepted yet, and not in it")


@account.command()
def add(
    name: Name,
    role: Annotated[str, typer.Option(help="reader, or admin.")] = "reader",
    data: Data = Path("echoseg-page"),
    database_url: DatabaseUrl = "",
) -> None:
    """Add an account; its password is asked for, or read from standard input."""
    with _accounts(data, database_url, is_new=True) as accounts:
        from echoseg.web.records import Role

        if role not in tuple(Role):
            raise ConfigError(f"--role must be one of {', '.join(Role)}, got {role!r:.40}")
        added = accounts.add(name, _password(), Role(role))
    typer.echo(f"account {added.name} added, {added.role}")


@account.command()
def password(name: Name, data: Data = Path("echoseg-page"), database_url: DatabaseUrl = "") -> None:
    """Give an account a new password; it is signed out everywhere."""
    with _accounts(data, database_url) as accounts:
        accounts.set_password(name, _password())
    typer.echo(f"account {name}: new password")


@account.command()
def remove(name: Name, data: Data = Path("echoseg-page"), database_url: DatabaseUrl = "") -> None:
    """Remove an account; it is signed out everywhere, its readings stay."""
    with _accounts(data, database_url) as accounts:
        accounts.remove(name)
    typer.echo(f"account {name} removed")


@account.command("list")
def list_accounts(data: Data = Path("echoseg-page"), database_url: DatabaseUrl = "") -> None:
    """List the accounts."""
    with _accounts(data, database_url) as accounts:
        readers = accounts.all()
    for reader in readers:
        typer.echo(f"{reader.name} {reader.role}")


@contextmanager
def _accounts(data: Path, database_url: str, *, is_new: bool = False) -> "Iterator[Accounts]":
    """The accounts of a folder, which exists unless it may be new.

    Raises:
        ConfigError: If there is no page in the folder, or it cannot be opened.
    """
    settings = _settings(folder=data, database_url=database_url)
    from echoseg.web.accounts import open_accounts

    if not is_new:
        _check_page(data, database_url)
    database, _, accounts = open_accounts(settings)
    with closing(database):
        yield accounts


def _check_page(data: Path, database_url: str) -> None:
    """Refuse a folder without a page.

    Raises:
        ConfigError: With what to name instead.
    """
    if not ((data / "page.sqlite").is_file() or database_url):
        raise ConfigError(f"there is no page in {data}; name the folder that was its --data")


def _password() -> str:
    if sys.stdin.isatty():
        return typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return sys.stdin.readline().rstrip("\r\n")


def _settings(**options: Any) -> "PageSettings":
    """The settings of options.

    Raises:
        ConfigError: If one is out of range, or a library of the extra is missing.
    """
    from importlib.util import find_spec

    from pydantic import ValidationError

    names = ("fastapi", "uvicorn", "sqlalchemy", "argon2", "websockets", "python_multipart")
    if missing := [name for name in names if not find_spec(name)]:
        raise ConfigError(
            f"echoseg serve needs {missing[0]}, which is not installed; pip install 'echoseg[page]'"
        )
    from echoseg.web.settings import PageSettings

    try:
        return PageSettings(**options)
    except ValidationError as error:
        raise ConfigError(validation_message(error)) from None
