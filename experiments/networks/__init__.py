"""Networks of other papers, for comparison; only the experiments use them."""

from echoseg.models.segmenter import Segmenter
from experiments.networks.conv_gru_unet import ConvGRUUNet
from experiments.networks.deeplab_v3 import DeepLabV3
from experiments.networks.gdkvm import GDKVM
from experiments.networks.hss_net import HSSNet
from experiments.networks.mssnet_released import MSSNetReleased
from experiments.networks.msv_mamba import MSVMamba
from experiments.networks.unet_3d import UNet3D

_CLASSES = (ConvGRUUNet, DeepLabV3, GDKVM, HSSNet, MSSNetReleased, MSVMamba, UNet3D)

NETWORKS: dict[str, type[Segmenter]] = {
    f"{network.__module__}:{network.__name__}": network for network in _CLASSES
}
"""Networks by the name under which `TrainConfig.model` and checkpoints find them."""
NAMES = {name.partition(":")[0].rpartition(".")[2]: name for name in NETWORKS}
"""These names by the short ones of the benchmark, such as `gdkvm`."""
