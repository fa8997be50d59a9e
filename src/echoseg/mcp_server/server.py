"""The MCP server: four tools over standard input and output.

Files are read inside named folders only, results are written into one. One clip is worked on at a
time, in a process of its own with limits; answers hold no text of a file.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from echoseg.clip import View
from echoseg.errors import ConfigError, OutputError, reason_of, validation_message
from echoseg.mcp_server.answers import Answer, Explanation, answer, explanation, read_report
from echoseg.mcp_server.work import Failed, Options, Task, work
from echoseg.parallel import Limits, Loss, WorkerPool
from echoseg.private import hide_path

INSTRUCTIONS = (
    "Left ventricle masks, volumes and ejection fraction (EF) from echocardiogram clips. Research "
    "software, not a medical device: never present a value without its statement, interval and "
    "warnings. Where `statement` withholds the EF, do not estimate one from other fields."
)
_Place = Annotated[str, Field(max_length=4096, description="Path inside a folder of the server.")]
_View = Annotated[View | None, Field(description="View of the clip, where it is known.")]
_Spacing = Annotated[
    tuple[float, float] | None, Field(description="Pixel spacing (row, column), mm.")
]
_Rate = Annotated[float | None, Field(description="Frames per second.")]


@dataclass(frozen=True, slots=True)
class McpSettings:
    """How the server works.

    Attributes:
        folders: Folders whose files may be read.
        results: Folder that results are written into; it may be read too.
        model: Name or path of a checkpoint.
        backend: What computes the network.
        limits: Time and memory of one call.

    Raises:
        ConfigError: If no folder is named, or one is not there.
    """

    folders: tuple[Path, ...]
    results: Path
    model: str = "camus"
    backend: str = "torch"
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Check the folders."""
        for folder in self.folders:
            if not folder.is_dir():
                raise ConfigError(f"a folder of clips must exist, got {folder}; create it")
        if not self.folders:
            raise ConfigError("name at least one folder of clips, which the server may read")


class Tools:
    """The tools, without their protocol."""

    def __init__(self, settings: McpSettings, pool: WorkerPool) -> None:
        self._settings, self._pool = settings, pool
        self._one = asyncio.Semaphore(1)

    async def analyze(
        self, clip: _Place, view: _View = None, spacing_mm: _Spacing = None, fps: _Rate = None
    ) -> Answer:
        """Segment and measure an echo clip: EF with its interval and reliability, volumes."""
        return await self._result("analyze", clip, view, spacing_mm, fps)

    async def measure(
        self, masks: _Place, view: _View = None, spacing_mm: _Spacing = None, fps: _Rate = None
    ) -> Answer:
        """Measure masks of the left ventricle that another tool drew; no network runs."""
        return await self._result("measure", masks, view, spacing_mm, fps)

    async def inspect(self, file: _Place) -> dict[str, Any]:
        """Say what a file states of format, size, scale, frame rate and view, and what is used."""
        return await self._work("inspect", self._inside(file), Options())

    async def explain(self, result: _Place) -> Explanation:
        """Explain a result: why an EF is stated or withheld, each beat, what to check."""
        folder = self._inside(result)
        report = await asyncio.to_thread(read_report, folder) if folder.is_dir() else None
        if report is None:
            raise ConfigError(f"{result} must be a result folder of one clip; analyze one first")
        return explanation(report, folder)

    async def _result(  # what is known of the file
        self,
        kind: str,
        place: str,
        view: View | None,
        spacing_mm: tuple[float, float] | None,
        fps: float | None,
    ) -> Answer:
        options = Options(view=view, spacing_mm=spacing_mm, fps=fps)
        folder = await self._work(kind, self._inside(place), options)
        report = await asyncio.to_thread(read_report, folder)
        if report is None:
            raise ConfigError("the result is not there; try it again")
        return answer(report, folder)

    async def _work(self, kind: str, source: Path, options: Options) -> Any:
        how = self._settings
        task = Task(kind, source, how.results, options, how.model, how.backend)
        async with self._one:
            outcome = await asyncio.wrap_future(self._pool.submit(task))
        if isinstance(outcome, Failed):
            raise ConfigError(hide_path(outcome.reason, source, source.name))
        return outcome

    def _inside(self, place: str) -> Path:
        """The path, links resolved, if it is inside a folder of the server.

        Raises:
            ConfigError: If it is not, or nothing is there.
        """
        roots = (*self._settings.folders, self._settings.results)
        try:
            path = next((r / place for r in roots if os.path.lexists(r / place)), roots[0] / place)
            resolved = path.resolve()
            is_inside = any(resolved.is_relative_to(root.resolve()) for root in roots)
            is_there = is_inside and resolved.exists()
        except (OSError, ValueError, RuntimeError):  # too long, NUL, a loop of links
            resolved, is_inside, is_there = Path(), False, False
        if not is_inside:
            raise ConfigError(
                "the path must be inside a folder that the server was started with; copy the file "
                "there, or start the server with its folder"
            )
        if not is_there:
            raise ConfigError("nothing is at that path; give it relative to a folder of the server")
        return resolved


def _lost(task: Task, loss: Loss) -> Failed:
    return Failed(f"given up: {loss.reason}")


@contextmanager
def tools(settings: McpSettings) -> Iterator[Tools]:
    """The tools with their worker process, which ends with the block.

    Raises:
        OutputError: If the folder of results cannot be made.
    """
    try:
        settings.results.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{settings.results} cannot be made ({reason_of(error)}); choose another folder of "
            "results (--output)"
        ) from error
    pool = WorkerPool(work, 1, limits=settings.limits, on_loss=_lost)
    try:
        yield Tools(settings, pool)
    finally:
        pool.close(is_finished=False)


def build_server(calls: Tools) -> Any:
    """An `mcp.server.MCPServer` of the tools.

    Raises:
        ConfigError: If the library is missing.
    """
    try:
        from mcp.server import MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
        from mcp.types import ToolAnnotations
    except ImportError:
        raise ConfigError("the MCP server needs its library; pip install 'echoseg[mcp]'") from None
    from functools import wraps
    from importlib.metadata import version

    class PlainServer(MCPServer):
        async def call_tool(self, *args: Any, **options: Any) -> Any:
            try:
                return await super().call_tool(*args, **options)
            except ToolError as error:
                if isinstance(error.__cause__, ValidationError):  # of the arguments
                    raise ToolError(validation_message(error.__cause__)) from None
                raise

    server = PlainServer("echoseg", instructions=INSTRUCTIONS, version=version("echoseg"))
    for call in (calls.analyze, calls.measure, calls.inspect, calls.explain):

        def plain(function: Any) -> Any:
            @wraps(function)
            async def run(*args: Any, **kwargs: Any) -> Any:
                try:
                    return await function(*args, **kwargs)
                except ValidationError as error:
                    raise ToolError(validation_message(error)) from None
                except Exception as error:
                    raise ToolError(str(error)) from None

            return run

        is_reading = call.__name__ in ("inspect", "explain")
        hints = ToolAnnotations(
            read_only_hint=is_reading, destructive_hint=False, idempotent_hint=True,
            open_world_hint=False,
        )  # fmt: skip
        server.tool(annotations=hints)(plain(call))
    return server


def serve(settings: McpSettings) -> None:
    """Answer on standard input and output until it is closed.

    Raises:
        ConfigError: As `build_server` and `McpSettings`.
    """
    with tools(settings) as calls:
        build_server(calls).run("stdio")
