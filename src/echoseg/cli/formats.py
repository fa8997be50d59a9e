"""`echoseg formats`: the file formats that are read, each with the library that decodes it."""

import typer


def formats() -> None:
    """List the file formats that are read, each with the library that decodes it.

    The content decides, never the name. A library that is missing is said so; its extra installs
    it.
    """
    from importlib.metadata import PackageNotFoundError, version

    from echoseg.io import FORMATS

    for name, known in FORMATS.items():
        try:
            library = f"{known.library} {version(known.library)}"
        except PackageNotFoundError:
            library = f"{known.library}, not installed"
        typer.echo(f"{name:<13} {known.title} ({library})")
