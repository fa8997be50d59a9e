"""Pictures of the phantom: one heart in all views and tiers, and a film with its true contours."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from echoseg.errors import OutputError
from echoseg.files import atomic_write, check_writable, ensure_dir
from echoseg.io.video import write_h264
from echoseg.phantom import Phantom, PhantomConfig, Tier
from echoseg.phantom.config import VIEWS
from echoseg.report.figures.overlay import draw_contours

_CAPTION_PX = 22
_TILE_PX, _SIDE_PX = 120, 320
"""Least widths, so that captions are never cut: of a sheet's tile, of a side of the film."""
_NOTE = "simulated, research use only, not a medical device"


def _drawn(frame: np.ndarray, mask: np.ndarray | None, caption: str, least_px: int) -> Image.Image:
    """Return one frame with its contours and a caption above, small ones enlarged."""
    times = -(-least_px // frame.shape[1])
    frame = frame.repeat(times, 0).repeat(times, 1)
    mask = None if mask is None else mask.repeat(times, 0).repeat(times, 1)
    picture = Image.fromarray(frame).convert("RGB")
    if mask is not None:
        draw_contours(picture, mask, 1.0)
    whole_picture = Image.new("RGB", (picture.width, picture.height + _CAPTION_PX))
    whole_picture.paste(picture, (0, _CAPTION_PX))
    draw = ImageDraw.Draw(whole_picture)
    draw.text((6, 3), caption, fill=(214, 220, 228), font=ImageFont.load_default(13))
    return whole_picture


def phantom_sheet(config: PhantomConfig) -> Image.Image:
    """Return one heart: a row a view, a column a tier; ED plain, ES with its contours."""
    rows = []
    for view in VIEWS:
        tiles = []
        for tier in Tier:
            phantom = Phantom(replace(config, view=view, tier=tier))
            frames, truth = phantom.frames(), phantom.truth()
            name = f"{view} {tier}"
            tiles.append(_drawn(frames[truth.ed_frame], None, f"{name}, ED", _TILE_PX))
            text = f"ES, EF {truth.ef_percent:.0f} %"
            es_frame, masks = truth.es_frame, truth.masks
            tiles.append(_drawn(frames[es_frame], masks[es_frame], text, _TILE_PX))
        rows.append(np.concatenate([np.asarray(tile) for tile in tiles], 1))
    sheet = np.concatenate(rows)
    foot = np.zeros((_CAPTION_PX, sheet.shape[1], 3), np.uint8)
    image = Image.fromarray(np.concatenate([sheet, foot]))
    text = f"echoseg phantom, seed {config.seed}: {_NOTE}"
    font = ImageFont.load_default(13)
    ImageDraw.Draw(image).text((6, sheet.shape[0] + 3), text, fill=(214, 220, 228), font=font)
    return image


def phantom_film(config: PhantomConfig) -> tuple[Iterator[np.ndarray], float]:
    """Return RGB frames, plain and with true contours side by side, and the frame rate in Hz."""
    phantom = Phantom(config)
    frames, truth = phantom.frames(), phantom.truth()

    def pictures() -> Iterator[np.ndarray]:
        for index, (frame, mask) in enumerate(zip(frames, truth.masks, strict=True)):
            phase = {truth.ed_frame: "  ED", truth.es_frame: "  ES"}.get(index, "")
            text = f"{truth.volume_ml[index]:.0f} ml{phase}"
            sides = (_drawn(frame, None, _NOTE, _SIDE_PX), _drawn(frame, mask, text, _SIDE_PX))
            yield np.concatenate([np.asarray(side) for side in sides], 1)

    return pictures(), phantom.frame_rate_hz


def write_phantom_show(config: PhantomConfig, folder: Path, *, force: bool = False) -> None:
    """Write `sheet.png` and `film.mp4` into a folder.

    Raises:
        ConfigError: If the heart asked for is not possible.
        OutputError: If one of them exists and may not be replaced, or cannot be written.
    """
    way_out = "choose another folder"
    sheet, film = folder / "sheet.png", folder / "film.mp4"
    check_writable(folder, way_out)
    if not force and (sheet.exists() or film.exists()):
        raise OutputError(f"{folder} holds a sheet or film; {way_out} or replace them with --force")
    pictures, rate_hz = phantom_film(config)
    with ensure_dir(folder), atomic_write(sheet) as partial:
        phantom_sheet(replace(config, num_frames=min(config.num_frames, 40))).save(partial)
        write_h264(film, pictures, rate_hz)
