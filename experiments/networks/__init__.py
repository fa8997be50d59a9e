"""Networks of other papers that only the experiments use."""

from echoseg.models.segmenter import Segmenter
from experiments.networks.deeplab_v3 import DeepLabV3
from experiments.networks.mssnet_released import MSSNetReleased

DEEPLAB = "experiments.networks.deeplab_v3:DeepLabV3"
RELEASED = "experiments.networks.mssnet_released:MSSNetReleased"
"""Names under which `TrainConfig.model` and checkpoints find them."""
NETWORKS: dict[str, type[Segmenter]] = {DEEPLAB: DeepLabV3, RELEASED: MSSNetReleased}
