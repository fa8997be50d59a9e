"""SEGMENTERS. Frames in, masks out; `MODELS` is the whole list."""

from echoseg.models.conv_gru_unet import ConvGRUUNet
from echoseg.models.memory_unet import MemoryUNet
from echoseg.models.segmenter import Segmenter

MODELS: dict[str, type[Segmenter]] = {
    "memory_unet": MemoryUNet,
    "conv_gru_unet": ConvGRUUNet,
}

__all__ = ["MODELS", "ConvGRUUNet", "MemoryUNet", "Segmenter"]
