"""SEGMENTERS. Frames in, masks out; `MODELS` is the whole list."""

from echoseg.models.memory_unet import MemoryUNet
from echoseg.models.mssnet import MSSNet
from echoseg.models.segmenter import Segmenter

MODELS: dict[str, type[Segmenter]] = {"memory_unet": MemoryUNet, "mssnet": MSSNet}

__all__ = ["MODELS", "MSSNet", "MemoryUNet", "Segmenter"]
