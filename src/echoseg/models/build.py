"""Names to networks: the built-in table, and classes of other packages."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from echoseg.errors import ConfigError, ModelError
from echoseg.models.adapt import Adapted, as_segmenter
from echoseg.models.memory_unet import MemoryUNet
from echoseg.models.mssnet import MSSNet
from echoseg.models.segmenter import Segmenter
from echoseg.models.unet import UNet
from echoseg.plugins import resolve

MODELS: dict[str, type[Segmenter]] = {
    "mssnet": MSSNet,
    "memory_unet": MemoryUNet,
    "unet": UNet,
}


def model_class(architecture: str) -> type[nn.Module]:
    """The class of a network.

    Args:
        architecture: Key of `MODELS`, or `package.module:Class` of another package, whose code is
            imported.

    Raises:
        ConfigError: If there is no such class, or it is no `torch.nn.Module`.
    """
    target = resolve(architecture, MODELS, "model")
    if not (isinstance(target, type) and issubclass(target, nn.Module)):
        raise ConfigError(
            f"model {architecture!r} must be a class derived from torch.nn.Module, it is a "
            f"{type(target).__name__}; give the class of a network"
        )
    return target


def build_model(architecture: str, options: Mapping[str, Any]) -> Segmenter:
    """Build a network with random weights.

    Args:
        architecture: See `model_class`. A plain `torch.nn.Module` is adapted (`models.adapt`).
        options: Keyword arguments of the class.

    Raises:
        ConfigError: If there is no such class, or it does not take these options.
        ModelError: If a plain network cannot be adapted.
    """
    kind: Any = model_class(architecture)
    if issubclass(kind, Segmenter):
        return kind(**options)
    try:
        network = kind(**options)
    except Exception as error:  # whatever another package's code raises
        raise ConfigError(
            f"model {architecture!r} cannot be built with {dict(options)} "
            f"({type(error).__name__}: {error}); check the arguments of {kind.__name__}"
        ) from error
    return as_segmenter(network, options)


def architecture_of(model: Segmenter) -> str:
    """The name under which `build_model` finds the class of a network.

    Raises:
        ModelError: If the class is defined inside a function, where nothing can find it.
    """
    kind = type(model.network) if isinstance(model, Adapted) else type(model)
    for name, known in MODELS.items():
        if known is kind:
            return name
    if "<locals>" in kind.__qualname__:
        raise ModelError(
            f"{kind.__name__} is defined inside a function, so its checkpoint could not be loaded; "
            "define it at the top level of a module"
        )
    return f"{kind.__module__}:{kind.__qualname__}"
