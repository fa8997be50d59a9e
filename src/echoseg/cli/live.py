"""`echoseg live`: masks and running measurements of frames as they come."""

import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoseg.cli.console import DISCLAIMER, fail
from echoseg.cli.options import Device, Fps, Model, Runtime, SpacingMm
from echoseg.errors import ConfigError, EchosegError, OutputError

if TYPE_CHECKING:
    from echoseg.stream.live import Status


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
    device: Device = "auto",
    model: Model = "camus",
    runtime: Runtime = "torch",
) -> None:
    """Segment frames as they come; Ctrl-C ends it, and what was written is whole.

    Under load the newest frame is taken and older ones are dropped and counted. Latency runs from
    a frame's arrival to its mask and numbers.
    """
    from echoseg.formats.live import SourceOptions

    try:
        options = SourceOptions(size=size, frame_rate_hz=fps, paced=not every_frame)
        _check_places(output, overlay)
        stepper = _stepper(model, device, runtime)
        session = _session(stepper, spacing_mm, fps)
        typer.echo(DISCLAIMER)
        status = _follow(session, source, options, (output, overlay, reconnect))
    except EchosegError as error:
        fail(str(error))
        raise typer.Exit(2) from None
    typer.echo(_line(status))
    typer.echo(f"{status.ended}: {status.num_frames} frames, {status.dropped} dropped")


def _check_places(output: Path | None, overlay: str | None) -> None:
    """Refuse, before the first frame, what exists or cannot be written."""
    from echoseg.formats.whole import check_new_file
    from echoseg.results import check_output

    if output is not None:
        check_output(output)
    if overlay is None or "://" in overlay:
        return
    if Path(overlay).suffix not in (".mkv", ".mp4"):
        raise ConfigError(f"--overlay must end in .mkv or .mp4, or be a URL, got {overlay!r}")
    if Path(overlay).exists():
        raise OutputError(f"{overlay} exists; choose another --overlay")
    check_new_file(Path(overlay))


def _stepper(model: str, device: str, runtime: str) -> Any:
    """Return the network; torch runtimes may run on a GPU, the others load no torch."""
    from echoseg.runtime.choose import check_name, open_stepper

    check_name(runtime)
    if runtime == "torch" and device != "cpu":
        from echoseg.analysis import choose_device
        from echoseg.models.checkpoint import load_checkpoint
        from echoseg.runtime.torch_stepper import TorchStepper

        network, checkpoint = load_checkpoint(model, device=choose_device(device))
        return TorchStepper(network, checkpoint.card.image_size)
    if device not in ("auto", "cpu"):
        raise ConfigError(f"--runtime {runtime} runs on the CPU; leave --device {device} out")
    return open_stepper(model, runtime, num_threads=os.cpu_count() or 1)


def _session(stepper: Any, spacing_mm: tuple[float, float] | None, fps: float | None) -> Any:
    from echoseg.formats.frames import OpenOptions
    from echoseg.stream.session import Session

    OpenOptions(spacing_mm=spacing_mm, frame_rate_hz=fps)
    return Session(stepper, spacing_mm=spacing_mm, frame_rate_hz=fps)


def _follow(
    session: Any, source: str, options: Any, places: tuple[Path | None, str | None, float]
) -> "Status":
    from echoseg.formats.live import is_endless, open_source
    from echoseg.formats.whole import whole, whole_folder
    from echoseg.results import check_output
    from echoseg.show.live import open_sinks
    from echoseg.stream.live import LiveOptions, Run

    output, overlay, reconnect_s = places
    drop = options.paced and source != "-"
    how = LiveOptions(drop=drop, reconnect_s=reconnect_s, is_endless=is_endless(source))
    with ExitStack() as outer:
        folder = output and outer.enter_context(whole_folder(output, lambda: check_output(output)))
        if overlay is not None and "://" not in overlay:
            overlay = str(outer.enter_context(whole(Path(overlay))))
        with ExitStack() as stack:
            sinks = open_sinks(stack, folder or None, overlay)
            run = Run(lambda: open_source(source, options), session, sinks, how)
            status = run.follow(_show())
        if folder:
            _summary(folder / "report.json", status, source)
    return status


def _show() -> Any:
    """Return what draws the running line on a terminal, and nothing into a pipe."""
    import sys

    if not sys.stderr.isatty():
        return None
    return lambda status: typer.echo(f"\r\x1b[2K{_line(status)}", err=True, nl=False)


def _line(status: "Status") -> str:
    from echoseg.show.live import told

    milliseconds = [
        "-" if value is None else f"{1000 * value:.1f}"
        for value in (status.p50_s, status.p95_s, status.p99_s)
    ]
    said = told(status.reading) if status.reading else "no frame"
    return (
        f"{said}  |  latency p50/p95/p99 {'/'.join(milliseconds)} ms, {status.rate_hz:.1f} "
        f"frames/s, {status.dropped} dropped, {status.resets} resets"
    )


def _summary(path: Path, status: "Status", source: str) -> None:
    reading = status.reading
    found = {
        "disclaimer": DISCLAIMER,
        "source": source,
        "ended": status.ended,
        "num_frames": status.num_frames,
        "dropped": status.dropped,
        "resets": status.resets,
        "num_beats": reading.num_beats if reading else 0,
        "ef_percent": reading.ef_percent if reading else None,
        "latency_p50_s": status.p50_s,
        "latency_p95_s": status.p95_s,
        "latency_p99_s": status.p99_s,
        "frames_per_s": status.rate_hz,
    }
    path.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
