"""Left ventricle masks, volumes and ejection fraction from echocardiogram clips.

Research software, not a medical device.

```python
import echoseg

result = echoseg.analyze("clip.dcm")
print(result.ef_percent, result)
result.save("out/")
```
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # names of submodules, for type checkers
    from echoseg import (  # noqa: F401
        data,
        evaluation,
        inference,
        io,
        measure,
        metrics,
        models,
        phantom,
        report,
    )
    from echoseg.clip import Clip, Label, View
    from echoseg.data import load_dataset
    from echoseg.errors import EchosegError
    from echoseg.evaluation.run import evaluate
    from echoseg.inference.analysis import Analysis
    from echoseg.inference.analyzer import analyze
    from echoseg.io import load_clip
    from echoseg.models.checkpoint import load_model
    from echoseg.train.train import train

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
    "train",
]

# imported on first use: torch alone takes over a second
_MODULE_OF = {
    "Analysis": "echoseg.inference.analysis",
    "Clip": "echoseg.clip",
    "EchosegError": "echoseg.errors",
    "Label": "echoseg.clip",
    "View": "echoseg.clip",
    "analyze": "echoseg.inference.analyzer",
    "evaluate": "echoseg.evaluation.run",
    "load_clip": "echoseg.io",
    "load_dataset": "echoseg.data",
    "load_model": "echoseg.models.checkpoint",
}
_SUBMODULES = (
    "data", "evaluation", "exchange", "inference", "io", "losses", "measure", "metrics", "models",
    "nn", "phantom", "preprocess", "quality", "report", "train",
)  # fmt: skip
"""Reachable as `echoseg.models` and so on after `import echoseg`."""


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(_MODULE_OF[name]), name)
    if name in _SUBMODULES:
        return import_module(f"echoseg.{name}")
    raise AttributeError(f"module 'echoseg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
