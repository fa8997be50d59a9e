"""Attention figure, one column per frame: the frame, its own weights, the guided ones if any."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from echoseg.inference.attention import AttentionMaps
from echoseg.report.figures.overlay import draw_contours

_TILE_PX = 224
_CAPTION_PX = 24
_LEFT_PX = 92
_NOTE = "research use only, not a medical device"


def attention_sheet(maps: AttentionMaps, num_columns: int = 6) -> Image.Image:
    """Return the sheet; the darkened frame, where there is one, is among its columns."""
    chosen = _chosen(len(maps.frames), num_columns, maps.darkened)
    rows = {"alone": maps.alone}
    if maps.guided is not None:
        rows["guided"] = maps.guided
    size = (_LEFT_PX + len(chosen) * _TILE_PX, _CAPTION_PX * 2 + (1 + len(rows)) * _TILE_PX)
    sheet = Image.new("RGB", size)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    ink = (214, 220, 228)
    # one scale for all tiles, so that a pale map is a map of small weights
    max_weight = float(np.quantile([weights[chosen] for weights in rows.values()], 0.998))
    for column, index in enumerate(chosen):
        left = _LEFT_PX + column * _TILE_PX
        name = f"frame {index}" + (" (darkened)" if index == maps.darkened else "")
        draw.text((left + 6, 4), name, fill=ink, font=font)
        tiles = (
            _frame_tile(maps, index),
            *(_map_tile(maps, index, weights[index] / max_weight) for weights in rows.values()),
        )
        for row, tile in enumerate(tiles):
            sheet.paste(tile, (left, _CAPTION_PX + row * _TILE_PX))
    for row, name in enumerate(("frame", *rows)):
        draw.text((6, _CAPTION_PX + row * _TILE_PX + _TILE_PX // 2), name, fill=ink, font=font)
    foot = f"where the marked place looks: brighter = more; {_NOTE}"
    draw.text((6, size[1] - _CAPTION_PX + 4), foot, fill=ink, font=font)
    return sheet


def _chosen(num_frames: int, num_columns: int, darkened: int | None) -> list[int]:
    """Return frames spread over the clip, or those about the darkened one."""
    if darkened is None:
        return sorted({int(i) for i in np.linspace(0, num_frames - 1, num_columns).round()})
    first = min(max(0, darkened - num_columns // 2), max(0, num_frames - num_columns))
    return list(range(first, min(num_frames, first + num_columns)))


def _picture(grey: np.ndarray) -> Image.Image:
    picture = Image.fromarray((255 * grey).round().astype(np.uint8)).convert("RGB")
    return picture.resize((_TILE_PX, _TILE_PX), Image.Resampling.BICUBIC)


def _frame_tile(maps: AttentionMaps, index: int) -> Image.Image:
    tile = _picture(maps.frames[index])
    labels = Image.fromarray(maps.labels[index].astype(np.uint8))
    draw_contours(tile, np.asarray(labels.resize(tile.size, Image.Resampling.NEAREST)), 1.0)
    return tile


def _map_tile(maps: AttentionMaps, index: int, weights: np.ndarray) -> Image.Image:
    """Return the frame in grey with the weights over it in orange, and the asking place."""
    field = Image.fromarray((255 * weights.clip(0, 1)).astype(np.uint8))
    strength = np.asarray(field.resize((_TILE_PX, _TILE_PX), Image.Resampling.BICUBIC)) / 255
    under = 0.45 * np.asarray(_picture(maps.frames[index]), np.float32)
    orange = np.array([255, 150, 40], np.float32)
    mixed = under + strength[..., None] * (orange - under)
    tile = Image.fromarray(mixed.clip(0, 255).astype(np.uint8))
    y, x = (int(each * _TILE_PX / len(maps.frames[0])) for each in maps.query)
    ImageDraw.Draw(tile).ellipse([x - 4, y - 4, x + 4, y + 4], outline=(255, 255, 255), width=2)
    return tile
