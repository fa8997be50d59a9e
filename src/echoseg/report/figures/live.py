"""What a live run leaves: masks as a lossless video, an overlay to look at, a table of readings."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from echoseg.errors import OutputError
from echoseg.files import csv_text
from echoseg.inference.live.session import BEING_CHECKED, NO_BEAT, NO_RECENT_BEAT, FrameResult
from echoseg.io.video import GrowingVideo
from echoseg.report.figures.colours import CONTOURS
from echoseg.report.figures.overlay import draw_contours
from echoseg.report.schema import DISCLAIMER

COLUMNS = ("frame_index", "time_s", "volume_ml", "volume_px3", "last_ed_s", "last_es_s",
           "num_beats", "ef_percent", "reset", "latency_s")  # fmt: skip
_WAITING = {
    NO_BEAT: "no whole beat yet",
    NO_RECENT_BEAT: "no recent beat",
    BEING_CHECKED: "EF being checked",
}
_MIN_WIDTH_PX = 480
_BAR_PX = 44


class VideoSink:
    """A video of one picture per frame, drawn from the frame and its result."""

    def __init__(
        self, video: GrowingVideo, draw: Callable[[np.ndarray, FrameResult], np.ndarray]
    ) -> None:
        self._video, self._draw = video, draw

    def write(self, frame: np.ndarray, reading: FrameResult) -> None:
        """Add a picture."""
        self._video.add(self._draw(frame, reading), reading.time_s)

    def close(self) -> None:
        """Finish the file."""
        self._video.close()


class ReadingTable:
    """One row per frame, written at once; a full disk leaves complete rows."""

    def __init__(self, path: Path) -> None:
        self._name, self._length = path.name, 0
        self._file = path.open("wb", buffering=0)
        self._add(COLUMNS)

    def write(self, frame: np.ndarray, reading: FrameResult) -> None:
        """Add a row; an empty cell is a value that is not known."""
        values = (getattr(reading, name) for name in COLUMNS)
        self._add([round(v, 5) if isinstance(v, float) else v for v in values])

    def _add(self, values: Sequence[object]) -> None:
        row = csv_text(values).encode()
        reason = "the disk is full"
        try:
            written = self._file.write(row)
        except OSError as error:
            written, reason = 0, error.strerror or reason
        if written != len(row):
            self._file.truncate(self._length)
            raise OutputError(f"{self._name} cannot be written ({reason}); make room")
        self._length += len(row)

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def live_picture(frame: np.ndarray, reading: FrameResult) -> np.ndarray:
    """Return a frame `H W` with contours and numbers, `H' W' 3` uint8 RGB."""
    zoom = max(1.0, _MIN_WIDTH_PX / frame.shape[1])
    size = round(frame.shape[1] * zoom), round(frame.shape[0] * zoom)
    picture = Image.fromarray(frame).convert("RGB").resize(size, Image.Resampling.BILINEAR)
    draw_contours(picture, reading.mask, zoom)
    canvas = Image.new("RGB", (size[0], size[1] + _BAR_PX))
    canvas.paste(picture)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    draw.text((8, size[1] + 4), describe(reading), fill=CONTOURS["LV"][1], font=font)
    draw.text((8, size[1] + 23), DISCLAIMER, fill=(235, 238, 242), font=font)
    return np.asarray(canvas)


def describe(reading: FrameResult) -> str:
    """Return a reading in a few words."""
    volume = "LV not found"
    if reading.volume_ml is not None:
        volume = f"LV {reading.volume_ml:.0f} ml"
    elif reading.volume_px3 is not None:
        volume = "LV found, no scale"
    statement = reading.ef
    beats = f"{reading.num_beats} beat{'s' * (reading.num_beats != 1)}"
    if statement.kind != "none":
        ef = f"{statement.text} ({', '.join(filter(None, (statement.interval_span, beats)))})"
    else:
        ef = _WAITING.get(statement.reason, statement.headline)
    return f"{reading.time_s:.1f} s  {volume}  {ef}"


class Sinks(NamedTuple):
    """What a run must write, and what it goes on without."""

    needed: list[VideoSink | ReadingTable]
    asides: list[VideoSink]


def open_sinks(
    folder: Path | None,
    overlay: str | None,
    overlay_name: str = "",
    draw: Callable[[np.ndarray, FrameResult], np.ndarray] = live_picture,
) -> Sinks:
    """Open the requested sinks; the overlay is an aside where there are masks.

    Args:
        folder: Gets `frames.csv` and `masks.mkv`, FFV1 whose grey levels are the labels, 0 to 3.
        overlay: File or URL of the overlay video, H.264.
        overlay_name: What refusals call it; OVERLAY by default.
        draw: Draws a picture of the overlay.
    """
    overlays = []
    if overlay is not None:
        overlays.append(VideoSink(GrowingVideo(overlay, name=overlay_name), draw))
    if folder is None:
        return Sinks([*overlays], [])
    masks = GrowingVideo(str(folder / "masks.mkv"), lossless=True, name="masks.mkv")
    table = ReadingTable(folder / "frames.csv")
    return Sinks([VideoSink(masks, lambda _, reading: reading.mask), table], overlays)
