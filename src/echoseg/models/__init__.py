"""SEGMENTERS. Frames in, masks out; `MODELS` lists the built-in networks.

```python
net = echoseg.models.MSSNet(size="tiny", num_labels=2)   # random weights
net, card = echoseg.load_model("camus")                   # a shipped checkpoint
logits = net(frames)                                      # B T 1 H W -> B T K H W, any size
```
"""

from echoseg.models.adapt import as_segmenter
from echoseg.models.build import MODELS, architecture_of, build_model, model_class
from echoseg.models.clip_segmenter import ClipSegmenter
from echoseg.models.frame_segmenter import FrameSegmenter
from echoseg.models.memory_unet import MemoryUNet, MemoryUNetConfig
from echoseg.models.mssnet import MSSNet, MSSNetConfig
from echoseg.models.segmenter import Segmenter
from echoseg.models.unet import UNet, UNetConfig

__all__ = [
    "MODELS",
    "ClipSegmenter",
    "FrameSegmenter",
    "MSSNet",
    "MSSNetConfig",
    "MemoryUNet",
    "MemoryUNetConfig",
    "Segmenter",
    "UNet",
    "UNetConfig",
    "architecture_of",
    "as_segmenter",
    "build_model",
    "model_class",
]
