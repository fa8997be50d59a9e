"""What a live run leaves: masks as a lossless video, an overlay to look at, a table of readings."""

import csv
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from echoseg.formats.video import GrowingVideo
from echoseg.report import DISCLAIMER
from echoseg.show.colours import CONTOURS
from echoseg.show.overlay import draw_contours
from echoseg.stream.session import Reading

COLUMNS = ("frame_index", "time_s", "volume", "volume_ml", "last_ed_s", "last_es_s", "num_beats",
           "ef_percent", "reset", "latency_s")  # fmt: skip
_LEAST_WIDTH_PX = 480
_BAR_PX = 44


class MaskVideo:
    """Masks as FFV1 in Matroska: the grey level of a pixel is its label, 0 to 3."""

    def __init__(self, target: str) -> None:
        self._video = GrowingVideo(target, lossless=True)

    def write(self, frame: np.ndarray, reading: Reading) -> None:
        """Add a mask."""
        self._video.add(reading.mask, reading.time_s)

    def close(self) -> None:
        """Finish the file."""
        self._video.close()


class OverlayVideo:
    """Frames with their contours and the running numbers under them, H.264."""

    def __init__(self, target: str) -> None:
        self._video = GrowingVideo(target)

    def write(self, frame: np.ndarray, reading: Reading) -> None:
        """Add a picture."""
        self._video.add(live_picture(frame, reading), reading.time_s)

    def close(self) -> None:
        """Finish the file."""
        self._video.close()


class ReadingTable:
    """A row a frame, written as it comes."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(COLUMNS)

    def write(self, frame: np.ndarray, reading: Reading) -> None:
        """Add a row; an empty cell is a value that is not known."""
        values = (getattr(reading, name) for name in COLUMNS)
        self._writer.writerow(round(v, 5) if isinstance(v, float) else v for v in values)

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def live_picture(frame: np.ndarray, reading: Reading) -> np.ndarray:
    """Return a frame `H W` with contours and numbers, `H' W' 3` uint8 RGB."""
    zoom = max(1.0, _LEAST_WIDTH_PX / frame.shape[1])
    size = round(frame.shape[1] * zoom), round(frame.shape[0] * zoom)
    picture = Image.fromarray(frame).convert("RGB").resize(size, Image.Resampling.BILINEAR)
    draw_contours(picture, reading.mask, zoom)
    canvas = Image.new("RGB", (size[0], size[1] + _BAR_PX))
    canvas.paste(picture)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    draw.text((8, size[1] + 4), told(reading), fill=CONTOURS["LV"][1], font=font)
    draw.text((8, size[1] + 23), DISCLAIMER, fill=(235, 238, 242), font=font)
    return np.asarray(canvas)


def told(reading: Reading) -> str:
    """Return a reading in a few words."""
    volume = "LV not found"
    if reading.volume_ml is not None:
        volume = f"LV {reading.volume_ml:.0f} ml"
    elif reading.volume is not None:
        volume = "LV found, no scale"
    if reading.ef_percent is None:
        return f"{reading.time_s:.1f} s  {volume}  no whole beat yet"
    beats = f"{reading.num_beats} beat{'s' * (reading.num_beats > 1)}"
    return f"{reading.time_s:.1f} s  {volume}  EF {reading.ef_percent:.0f} % ({beats})"


def open_sinks(
    stack: ExitStack, folder: Path | None, overlay: str | None
) -> list[MaskVideo | OverlayVideo | ReadingTable]:
    """Return the sinks asked for, closed with the stack.

    Args:
        stack: Closes them.
        folder: Gets `masks.mkv` and `frames.csv`.
        overlay: File or URL of the overlay video.
    """
    sinks: list[MaskVideo | OverlayVideo | ReadingTable] = []
    if folder is not None:
        sinks += [MaskVideo(str(folder / "masks.mkv")), ReadingTable(folder / "frames.csv")]
    if overlay is not None:
        sinks.append(OverlayVideo(overlay))
    for sink in sinks:
        stack.callback(sink.close)
    return sinks
