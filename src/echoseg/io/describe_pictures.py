"""What the header of a video, of a file of pictures or of a folder of them states."""

import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

from echoseg.io.containers import stated_rate_hz
from echoseg.io.describe_words import TEXTS, Header, filled
from echoseg.io.frames import OpenOptions
from echoseg.io.image_folder import frame_files, mask_files
from echoseg.io.images import SUFFIXES, num_pages, open_picture
from echoseg.io.video import main_stream

_MAX_PAGES = 64
"""Pictures of an animation whose durations are looked at."""


def video_header(path: Path) -> Header:
    """Container, codec, and what the container states of its main stream."""
    import av
    from av import logging
    from av.error import FFmpegError

    logging.set_level(logging.PANIC)
    with av.open(str(path)) as container:
        stream = main_stream(container)
        rate_hz, aspect = stated_rate_hz(container, stream), stream.sample_aspect_ratio
        kinds = Counter(one.type for one in container.streams)
        first = None
        with contextlib.suppress(FFmpegError):
            first = next(container.decode(stream), None)
        rows = {
            "container": container.format.name,
            "streams": ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items())),
            "codec": stream.codec_context.name,
            "pixel format": stream.codec_context.pix_fmt or "none",
            "size (columns x rows)": f"{stream.width} x {stream.height}",
            "frame rate": f"{rate_hz:.6g} fps" if rate_hz else "none",
            "time base": f"{stream.time_base} s" if stream.time_base else "none",
            "number of frames": stream.frames or "none",
            "duration": f"{container.duration / 1e6:g} s" if container.duration else "none",
            "sample aspect ratio": f"{aspect}" if aspect else "none",
            "rotation": f"{first.rotation} degrees" if first else "none: no frame can be decoded",
        }  # fmt: skip
        metadata = [container.metadata, *(one.metadata for one in container.streams)]
    return Header({"container": rows}, sorted({name for one in metadata for name in filled(one)}))


def pictures_header(path: Path) -> Header:
    """Type, size and pages of a file of pictures, and the durations that it states."""
    with open_picture(path, OpenOptions()) as image:
        rows, durations_ms = _picture(image) | {"pages": num_pages(path)}, list[float]()
        with contextlib.suppress(OSError, EOFError, SyntaxError, ValueError):
            for index in range(_MAX_PAGES if image.format != "TIFF" else 0):
                image.seek(index)
                durations_ms.append(float(image.info.get("duration", 0)))
        if any(durations_ms):
            rows["durations"] = f"{min(durations_ms):g} to {max(durations_ms):g} ms"
        image.seek(0)
        return Header({"picture": rows}, _picture_texts(image))


def folder_header(path: Path) -> Header:
    """Number of pictures in a folder, and what the first of them states."""
    files = frame_files(path)
    masks = [] if (masks := mask_files(path)) == files else masks
    suffixes = (file.suffix.lower() for file in files)
    kinds = Counter(one[1:] if one in SUFFIXES else "other" for one in suffixes)
    with open_picture(files[0], OpenOptions()) as image:
        rows = {
            "frames": len(files),
            "masks beside them": len(masks),
            "of suffix": ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items())),
            **{f"first, {name}": value for name, value in _picture(image).items()},
        }
        return Header({"folder": rows}, _picture_texts(image))


def _picture(image: Any) -> dict[str, Any]:
    rows = {
        "type": image.format or "none",
        "mode": image.mode,
        "size (columns x rows)": f"{image.width} x {image.height}",
    }
    dpi = image.info.get("dpi")
    if dpi:
        rows["resolution"] = f"{float(dpi[0]):g} x {float(dpi[1]):g} per inch, not used"
    orientation = image.getexif().get(0x0112)
    return rows | ({"orientation (EXIF)": int(orientation)} if orientation else {})


def _picture_texts(image: Any) -> list[str]:
    """Names of texts and EXIF tags in a picture."""
    from PIL import ExifTags

    exif = image.getexif()
    tags = {ExifTags.TAGS.get(tag, "") for tag, value in exif.items() if value}
    named = {tag for tag in tags if tag.lower() in TEXTS}
    places = {"GPSInfo"} if exif.get_ifd(0x8825) else set()
    return sorted({*filled(dict(image.info)), *named, *places})
