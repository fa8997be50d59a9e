"""`echoseg live`: masks and running measurements of frames as they come."""

import json
import os
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoseg.cli.console import DISCLAIMER, fail, public, show_notice, signals_asked, start_private
from echoseg.cli.options import (
    BackendName,
    Device,
    Fps,
    Model,
    Private,
    PrivateKey,
    Quiet,
    SpacingMm,
    ViewGiven,
    chosen_backend,
    model_option,
)
from echoseg.clip import View
from echoseg.errors import ConfigError, FormatError, OutputError

if TYPE_CHECKING:
    from echoseg.inference.live.run import Status
    from echoseg.private import Pseudonyms

_VIDEOS = (".mkv", ".mp4")
REPORT_BYTES = 4096
"""Taken at the start, so that a disk that filled up still has room for the report."""


def live(
    source: Annotated[
        str,
        typer.Argument(
            help="A file, /dev/video0 or FORMAT:NAME, a URL (rtsp, udp, ...), or - for raw grey "
            "frames on standard input."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="New folder for masks.mkv and frames.csv.")
    ] = None,
    overlay: Annotated[
        str | None, typer.Option(help="Video with contours: a new .mkv or .mp4 file, or a URL.")
    ] = None,
    view: ViewGiven = None,
    spacing_mm: SpacingMm = None,
    fps: Fps = None,
    size: Annotated[
        tuple[int, int] | None, typer.Option(help="Of raw frames: ROWS COLUMNS.")
    ] = None,
    every_frame: Annotated[
        bool, typer.Option("--every-frame", help="Drop none; a file then plays as fast as it can.")
    ] = False,
    reconnect: Annotated[
        float, typer.Option(help="Seconds to wait for a source that went away.", min=0)
    ] = 0.0,
    private: Private = False,
    private_key: PrivateKey = None,
    device: Device = "auto",
    model: Model = "camus",
    backend: BackendName = "auto",
    threads: Annotated[
        int, model_option(help="Threads of the network; on busy cores more are slower.", min=1)
    ] = 1,
    quiet: Quiet = False,
) -> None:
    """Segment frames as they come; Ctrl-C or SIGTERM ends it, and what was written is whole.

    Under load the newest frame is taken and older ones are dropped and counted. Latency runs from
    a frame's arrival to its mask and numbers. Exit code 0 at the source's end or when stopped, 1
    when something went wrong on the way (what came before is kept), 2 when nothing was written.
    """
    from echoseg.inference.analyzer import Analyzer
    from echoseg.inference.live.check import EfCheck
    from echoseg.inference.live.session import Session
    from echoseg.inference.live.sources import SourceOptions
    from echoseg.parallel import torch_threads

    names = start_private(private, private_key, output)
    if names is not None and overlay is not None:
        names.hide_folder(Path(overlay), "the overlay")
    options = SourceOptions(
        size=size, frame_rate_hz=fps, spacing_mm=spacing_mm, view=view, paced=not every_frame
    )
    _check_places(output, overlay)
    with torch_threads(threads):
        backend = chosen_backend(backend, model, device, quiet=quiet)
        analyzer = Analyzer(model, device, backend)
        session = Session(
            analyzer.session,
            spacing_mm=spacing_mm,
            frame_rate_hz=fps,
            check=EfCheck(analyzer, view=view or View.UNKNOWN),
        )
        show_notice(analyzer.model_card)
        status = _follow(session, source, options, (output, overlay, reconnect), names)
    typer.echo(_line(status))
    if status.result and status.result.ef.reason:
        typer.echo(f"{status.result.ef.text}: {status.result.ef.reason}")
    saved = f"; kept in {output}" if output else ""
    ended = f"{status.ended}: {status.num_frames} frames, {status.dropped} dropped{saved}"
    typer.echo(public(ended))
    for problem in status.problems:
        fail(problem)
    if status.problems:
        raise typer.Exit(1)


def _check_places(output: Path | None, overlay: str | None) -> None:
    """Refuse, before the first frame, what exists or cannot be written."""
    from echoseg.files import check_new_file

    if output is not None:
        _check_folder(output)
    if overlay is None or "://" in overlay:
        return
    if Path(overlay).suffix not in _VIDEOS:
        raise ConfigError(f"--overlay must end in .mkv or .mp4, or be a URL, got {overlay!r}")
    if os.path.lexists(overlay):
        raise OutputError(f"{overlay} exists; choose another --overlay")
    if output is not None:
        video, folder = Path(os.path.realpath(overlay)), Path(os.path.realpath(output))
        if video in folder.parents or folder in video.parents:
            raise ConfigError(
                f"--overlay and -o must be two places, neither inside the other, got {overlay} and "
                f"{output}; choose another --overlay"
            )
    check_new_file(Path(overlay))


def _check_folder(output: Path) -> None:
    from echoseg.files import check_writable

    if output.suffix in _VIDEOS:
        raise ConfigError(
            f"--output (-o) must be a folder, got {output}; for a video give --overlay {output}"
        )
    if os.path.lexists(output):
        raise OutputError(f"{output} exists and is not replaced; choose another -o")
    check_writable(output.parent, "choose another -o")


def _follow(
    session: Any,
    source: str,
    options: Any,
    places: tuple[Path | None, str | None, float],
    names: "Pseudonyms | None" = None,
) -> "Status":
    from echoseg.files import OwnedFolder, owned_write
    from echoseg.inference.live.run import LiveOptions, Run
    from echoseg.inference.live.sources import is_endless, open_source
    from echoseg.preprocess.sector import blank_frame
    from echoseg.report.figures.live import live_picture, open_sinks

    def draw(frame: Any, result: Any) -> Any:
        return live_picture(blank_frame(frame, session.sector) if names else frame, result)

    output, overlay, reconnect_s = places
    with ExitStack() as stack:
        how = LiveOptions(
            drop=options.paced,
            reconnect_s=reconnect_s,
            is_endless=is_endless(source),
            is_over=stack.enter_context(signals_asked()),
        )
        video = overlay  # outside the folder: where it cannot be put in its place, the masks stay
        if overlay is not None and "://" not in overlay:
            video = str(stack.enter_context(owned_write(Path(overlay), "keep")))
        if names is not None:
            names.name(source)
        folder = output and stack.enter_context(OwnedFolder(output, "report.json").write())
        if folder:
            (folder / "report.json").write_bytes(bytes(REPORT_BYTES))
        sinks = open_sinks(folder or None, video, overlay or "", draw)
        opener = partial(open_source, source, options)
        status = Run(opener, session, sinks.needed, how, sinks.asides).follow(_show())
        if not status.num_frames:
            raise FormatError("it was stopped before the first frame, so nothing was written")
        if folder:
            if names is not None:
                status = replace(status, problems=tuple(map(public, status.problems)))
            name = names.name(source) if names else source
            status = _summary(folder / "report.json", status, name)
    return status


def _show() -> Any:
    """Return what draws the running line on a terminal, and nothing into a pipe."""
    import sys

    if not sys.stderr.isatty():
        return None
    return lambda status: typer.echo(f"\r\x1b[2K{_line(status)}", err=True, nl=False)


def _line(status: "Status") -> str:
    from echoseg.report.figures.live import describe

    milliseconds = [
        "-" if value is None else f"{1000 * value:.1f}"
        for value in (status.p50_s, status.p95_s, status.p99_s)
    ]
    reading = describe(status.result) if status.result else "no frame"
    return (
        f"{reading}  |  latency p50/p95/p99 {'/'.join(milliseconds)} ms, {status.rate_hz:.1f} "
        f"frames/s, {status.dropped} dropped, {status.resets} resets"
    )


def _summary(path: Path, status: "Status", source: str) -> "Status":
    """Write the report; return the status, with what kept it from being written."""
    result = status.result
    document = {
        "disclaimer": DISCLAIMER,
        "source": source,
        "ended": status.ended,
        "problems": status.problems,
        "num_frames": status.num_frames,
        "dropped": status.dropped,
        "resets": status.resets,
        "num_beats": result.num_beats if result else 0,
        "ef_percent": result and result.ef.ef_percent,
        "ef_interval": result and result.ef.interval_span,
        "ef_reliable": result and {"none": None, "unreliable": False}.get(result.ef.kind, True),
        "ef_reason": result and result.ef.reason,
        "latency_p50_s": status.p50_s,
        "latency_p95_s": status.p95_s,
        "latency_p99_s": status.p99_s,
        "frames_per_s": status.rate_hz,
    }
    try:
        path.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    except OSError as error:  # no reason to lose the masks
        problem = f"{path.name} cannot be written ({error.strerror}); make room"
        return replace(status, problems=(*status.problems, problem))
    return status
