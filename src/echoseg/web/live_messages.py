"""What the live page and its server say to each other, over the WebSocket `/api/live`.

The page sends a `LiveRequest`. The server sends a `LiveFrame` and its JPEG for each frame, and at
last a `LiveEnd`; it closes the connection after that, and the page may close it at any time.
"""

from typing import Annotated, Literal

from pydantic import Field

from echoseg.inference.ef_statement import EfStatement
from echoseg.web.api import Frame, Message, Point, Structure


class LiveRequest(Message):
    """First message of the page on `/api/live`: what to play; exactly one of the three.

    Attributes:
        clip: Id of a clip of the worklist, played at its own speed.
        source: Name of a camera or stream of `PageSettings.live_sources`.
        address: For an admin: on the machine itself as of `echoseg live`, elsewhere a file in one
            of `PageSettings.clip_folders`.
    """

    clip: str = ""
    source: str = ""
    address: Annotated[str, Field(max_length=4096)] = ""


class LiveFrame(Message):
    """A frame of a live run; the next message is its picture, a JPEG.

    Attributes:
        frame: Number of frames before it.
        time_s: Its time in the source.
        contours: Closed lines around the structures, to be drawn as they are.
        volume: Of the cavity, in `unit`; None where it is not measured.
        unit: `ml`, or `relative`.
        ef: What may be stated of the EF of the last seconds.
        num_beats: Finished beats.
        reset: Why the run began anew with this frame; empty otherwise.
        latency_ms: From the arrival of the frame to its masks.
        p50_ms: Median latency of the run.
        p95_ms: Its 95th percentile.
        rate_hz: Frames segmented per second.
        dropped: Frames that were replaced by newer ones.
    """

    frame: Frame
    time_s: float
    contours: dict[Structure, tuple[Point, ...]]
    volume: float | None
    unit: Literal["ml", "relative"]
    ef: EfStatement
    num_beats: int
    reset: str
    latency_ms: float
    p50_ms: float | None
    p95_ms: float | None
    rate_hz: float
    dropped: int


class LiveEnd(Message):
    """Last message of a live run: why it ended, in a sentence."""

    ended: str
