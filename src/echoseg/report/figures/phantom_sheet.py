"""Figures of the phantom: one heart in all views and tiers, and a video with true contours."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from echoseg.files import Replace, check_own_file, check_writable, ensure_dir, owned_write
from echoseg.io.video import write_h264
from echoseg.phantom import Phantom, PhantomConfig, Tier
from echoseg.phantom.config import VIEWS
from echoseg.report.figures.overlay import CAPTION_PX, captioned_tile

_TILE_PX, _SIDE_PX = 120, 320
"""Minimum widths of a tile of the montage and of a side of the video, so captions fit."""
_NOTE = "simulated, research use only, not a medical device"


def _render(frame: np.ndarray, mask: np.ndarray | None, caption: str, min_px: int) -> np.ndarray:
    """One frame with its contours under a caption, enlarged if small, as RGB."""
    size_px = max(min_px, *frame.shape)
    return np.asarray(captioned_tile(Image.fromarray(frame), mask, caption, size_px))


def phantom_montage(config: PhantomConfig) -> Image.Image:
    """Montage of one heart: views as rows, tiers as columns; ED plain, ES with contours."""
    rows = []
    for view in VIEWS:
        tiles = []
        for tier in Tier:
            phantom = Phantom(config.changed(view=view, tier=tier))
            frames, truth = phantom.frames(), phantom.truth()
            tiles.append(_render(frames[truth.ed_frame], None, f"{view} {tier}, ED", _TILE_PX))
            es, text = truth.es_frame, f"ES, EF {truth.ef_percent:.0f} %"
            tiles.append(_render(frames[es], truth.masks[es], text, _TILE_PX))
        rows.append(np.concatenate(tiles, 1))
    sheet = np.concatenate(rows)
    image = Image.fromarray(np.pad(sheet, ((0, CAPTION_PX), (0, 0), (0, 0))))
    text = f"echoseg phantom, seed {config.seed}: {_NOTE}"
    font = ImageFont.load_default(13)
    ImageDraw.Draw(image).text((6, sheet.shape[0] + 3), text, fill=(214, 220, 228), font=font)
    return image


def phantom_video(config: PhantomConfig) -> tuple[Iterator[np.ndarray], float]:
    """RGB frames, plain and with true contours side by side, and the frame rate in Hz."""
    phantom = Phantom(config)
    frames, truth = phantom.frames(), phantom.truth()

    def pictures() -> Iterator[np.ndarray]:
        for index, (frame, mask) in enumerate(zip(frames, truth.masks, strict=True)):
            phase = {truth.ed_frame: "  ED", truth.es_frame: "  ES"}.get(index, "")
            text = f"{truth.volume_ml[index]:.0f} ml{phase}"
            sides = (_render(frame, None, _NOTE, _SIDE_PX), _render(frame, mask, text, _SIDE_PX))
            yield np.concatenate(sides, 1)

    return pictures(), phantom.frame_rate_hz


def write_phantom_show(
    config: PhantomConfig, folder: Path, *, force: Replace = False
) -> list[Path | None]:
    """Write `sheet.png` and `film.mp4` into a folder.

    Returns:
        Where earlier ones were moved, with `force="keep"`.

    Raises:
        ConfigError: The requested heart is not possible.
        OutputError: As `check_own_file`, or the folder is not writable.
    """
    sheet, video = folder / "sheet.png", folder / "film.mp4"
    check_writable(folder, "choose another folder")
    backups = [check_own_file(path, force) for path in (sheet, video)]
    frames, rate_hz = phantom_video(config)
    with ensure_dir(folder), owned_write(sheet, force) as partial:
        phantom_montage(config.changed(num_frames=min(config.num_frames, 40))).save(partial)
        with owned_write(video, force) as partial_video:
            write_h264(partial_video, frames, rate_hz)
    return backups
