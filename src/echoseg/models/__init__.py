"""SEGMENTERS. Frames in, masks out; `MODELS` is the whole list."""

from echoseg.models.conv_gru_unet import ConvGRUUNet
from echoseg.models.deeplab_v3 import DeepLabV3
from echoseg.models.gdkvm import GDKVM
from echoseg.models.memory_unet import MemoryUNet
from echoseg.models.mssnet import MSSNet
from echoseg.models.mssnet_released import MSSNetReleased
from echoseg.models.msv_mamba import MSVMamba
from echoseg.models.segmenter import Segmenter
from echoseg.models.unet import UNet
from echoseg.models.unet_3d import UNet3D

MODELS: dict[str, type[Segmenter]] = {
    "mssnet": MSSNet,
    "memory_unet": MemoryUNet,
    "conv_gru_unet": ConvGRUUNet,
    "gdkvm": GDKVM,
    "msv_mamba": MSVMamba,
    "unet": UNet,
    "unet_3d": UNet3D,
    "deeplab_v3": DeepLabV3,
    "mssnet_released": MSSNetReleased,
}

__all__ = [
    "GDKVM",
    "MODELS",
    "ConvGRUUNet",
    "DeepLabV3",
    "MSSNet",
    "MSSNetReleased",
    "MSVMamba",
    "MemoryUNet",
    "Segmenter",
    "UNet",
    "UNet3D",
]
