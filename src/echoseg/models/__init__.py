"""SEGMENTERS. Frames in, masks out; `MODELS` is the whole list."""

from echoseg.models.conv_gru_unet import ConvGRUUNet
from echoseg.models.memory_unet import MemoryUNet
from echoseg.models.mssnet import MSSNet
from echoseg.models.mssnet_released import MSSNetReleased
from echoseg.models.segmenter import Segmenter

MODELS: dict[str, type[Segmenter]] = {
    "mssnet": MSSNet,
    "memory_unet": MemoryUNet,
    "conv_gru_unet": ConvGRUUNet,
    "mssnet_released": MSSNetReleased,
}

__all__ = ["MODELS", "ConvGRUUNet", "MSSNet", "MSSNetReleased", "MemoryUNet", "Segmenter"]
