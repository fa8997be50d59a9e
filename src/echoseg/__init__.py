"""Left ventricle masks, volumes and ejection fraction from echocardiogram clips.

Research software, not a medical device.

```python
import echoseg

clip = echoseg.load_clip("clip.dcm")
result = echoseg.analyze(clip)
print(result.ef_percent)
```
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from echoseg import models
    from echoseg.clip import Clip, Label, View
    from echoseg.data import load_dataset
    from echoseg.errors import EchosegError
    from echoseg.evaluation.run import evaluate
    from echoseg.inference.analysis import Analysis, analyze
    from echoseg.io import load_clip, open_clip
    from echoseg.models.checkpoint import load_model

__version__ = version("echoseg")

__all__ = [
    "Analysis",
    "Clip",
    "EchosegError",
    "Label",
    "View",
    "__version__",
    "analyze",
    "evaluate",
    "load_clip",
    "load_dataset",
    "load_model",
    "models",
    "open_clip",
]

# imported on first use: torch alone takes over a second
_HOMES = {
    "Analysis": "echoseg.inference.analysis",
    "Clip": "echoseg.clip",
    "EchosegError": "echoseg.errors",
    "Label": "echoseg.clip",
    "View": "echoseg.clip",
    "analyze": "echoseg.inference.analysis",
    "evaluate": "echoseg.evaluation.run",
    "load_clip": "echoseg.io",
    "load_dataset": "echoseg.data",
    "load_model": "echoseg.models.checkpoint",
    "open_clip": "echoseg.io",
}
_SUBMODULES = ("models",)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _SUBMODULES:
        return import_module(f"echoseg.{name}")
    raise AttributeError(f"module 'echoseg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
