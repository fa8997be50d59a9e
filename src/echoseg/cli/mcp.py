"""`echoseg mcp`: the tools for assistants, over standard input and output."""

from pathlib import Path
from typing import Annotated

import typer

from echoseg.cli.console import DISCLAIMER
from echoseg.cli.options import Model


def mcp(
    folders: Annotated[list[Path], typer.Argument(help="Folders whose files may be read.")],
    results: Annotated[
        Path, typer.Option("-o", "--output", help="Folder that results are written into.")
    ] = Path("echoseg-mcp"),
    model: Model = "camus",
    clip_timeout: Annotated[float, typer.Option(help="Seconds that one call may take.")] = 600.0,
    clip_memory: Annotated[float, typer.Option(help="Memory of one call, 10^9 bytes.")] = 4.0,
) -> None:
    """Serve analyze, measure, inspect and explain to an assistant over MCP (stdin, stdout)."""
    from echoseg.mcp_server.server import McpSettings, serve
    from echoseg.parallel import Limits
    from echoseg.weights.card import find_checkpoint

    find_checkpoint(model)
    limits = Limits(timeout_s=clip_timeout, memory_gb=clip_memory)
    typer.echo(DISCLAIMER, err=True)
    serve(McpSettings(tuple(folders), results, model, limits=limits))
