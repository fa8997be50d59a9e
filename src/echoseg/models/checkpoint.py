"""Weights, config and card in one safetensors file; loading needs nothing else."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from pydantic_core import PydanticSerializationError

from echoseg.errors import ConfigError, ModelError
from echoseg.files import atomic_write
from echoseg.weights.card import DEFAULT_MODEL, SHIPPED, ModelCard, find_checkpoint, read_card


def save_checkpoint(path: str | Path, model: Any, card: ModelCard) -> None:
    """Write weights, config and card to one file, atomically.

    Args:
        path: The file; one that exists is replaced.
        model: A Segmenter; its `config` is stored.
        card: Its `architecture` must be `architecture_of(model)`.

    Raises:
        ModelError: If the config of a network of another package is not JSON.
    """
    from safetensors.torch import save

    try:
        config = model.config.model_dump(mode="json")
    except PydanticSerializationError as error:
        raise ModelError(
            f"the options of {card.architecture} must be JSON values to be stored ({error}); build "
            "it from numbers, texts and lists"
        ) from error
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    header = card.model_copy(update={"config": config}).header()
    with atomic_write(path) as partial:
        partial.write_bytes(save(tensors, metadata=header))


ENCODER = ("stem.", "encoder")
"""What the names of an encoder's parameters begin with (`nn.unet`)."""


def load_encoder(model: Any, name_or_path: str) -> None:
    """Give a network the encoder of another, or that of any safetensors file with its names.

    Raises:
        ModelError: If there is no such file, the network has no echoseg encoder, or names,
            shapes or dtypes of the file differ, or values are not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    own = {name: x for name, x in model.state_dict().items() if name.startswith(ENCODER)}
    if not own:
        raise ModelError(
            f"pretrained_encoder needs a network with the encoder of nn.unet, "
            f"{type(model).__name__} has another; leave it out, or take another model"
        )
    try:
        path = find_checkpoint(name_or_path)
    except ModelError as error:
        raise ModelError(
            f"pretrained_encoder must be one of {', '.join(SHIPPED)} or a safetensors file that is "
            f"there, got {name_or_path!r}"
        ) from error
    try:
        tensors = {k: x for k, x in load_file(path).items() if k.startswith(ENCODER)}
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"pretrained_encoder must be a safetensors file, {path} is not ({error})"
        ) from error
    for name, x in own.items():
        there = tuple(tensors[name].shape) if name in tensors else "missing"
        if there != tuple(x.shape):
            raise ModelError(
                f"pretrained_encoder must have {type(model).__name__}'s encoder, whose {name} is "
                f"{tuple(x.shape)}; in {path} it is {there}; give architecture the widths of that "
                "file, or leave pretrained_encoder out"
            )
        if tensors[name].is_floating_point() != x.is_floating_point():
            raise ModelError(
                f"pretrained_encoder must have {x.dtype} or the like for {name}, {path} has "
                f"{tensors[name].dtype}; give weights as they were trained"
            )
        if not tensors[name].isfinite().all():
            raise ModelError(
                f"pretrained_encoder must have finite weights, {name} in {path} has NaN or "
                "infinite values; give the file of a training that did not fail"
            )
    model.load_state_dict({name: tensors[name] for name in own}, strict=False)


def load_model(name_or_path: str = DEFAULT_MODEL, *, device: str = "cpu") -> tuple[Any, ModelCard]:
    """Load a network in evaluation mode, and its card.

    A file may name a network of another package, `package.module:Class`. That module is then
    imported, which runs its code: load such files only from sources you consider safe. The
    checkpoints shipped with echoseg never do.

    Args:
        name_or_path: Name of a shipped checkpoint, or path of a .safetensors file.
        device: Torch device.

    Raises:
        ModelError: If there is no such checkpoint, it is damaged, or its weights do not fit.
        ConfigError: If torch has no such device here.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from echoseg.models.build import MODELS, build_model

    card = read_card(find_checkpoint(name_or_path))
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ConfigError(
            f"device must be one that torch has here, such as cpu, got {device!r}"
        ) from error
    architecture = card.architecture
    is_foreign = ":" in architecture and name_or_path not in SHIPPED
    if architecture not in MODELS and not is_foreign:
        raise ModelError(
            f"model {card.path} has architecture {architecture!r}, "
            f"known are {', '.join(MODELS)}; update echoseg"
        )
    options = card.config
    if is_foreign:  # an adapted plain network keeps its arguments in a field of its own
        options = options.get("options", options)
    try:
        weights = load_file(card.path)
        limit = 2 * sum(tensor.numel() for tensor in weights.values())
        with _no_more_weights(card, limit) if architecture in MODELS else nullcontext():
            model: Any = build_model(architecture, options)
        model.load_state_dict(weights)
    except (ConfigError, SafetensorError, RuntimeError, OSError) as error:
        if is_foreign and isinstance(error, ConfigError):
            raise ModelError(f"{card.path}: {error}") from error
        raise _damaged(card) from error
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise ModelError(
            f"model {card.path} must have finite weights, these have NaN or infinite values: "
            "its training failed; train it again with a lower learning rate"
        )
    model.card = card
    # channels last: convolutions on a CPU are half as fast again
    return model.to(device, memory_format=torch.channels_last).eval(), card


@contextmanager
def _no_more_weights(card: ModelCard, limit: int) -> Iterator[None]:
    """Refuse a network of more weights than LIMIT, that is twice those of its file.

    Twice, for a network may replace some that it made. They are counted when a module takes them,
    before they are drawn, so that little memory is used.

    Raises:
        ModelError: If so.
    """
    from torch.nn.modules.module import register_module_parameter_registration_hook

    thread = threading.get_ident()

    def count(_module: Any, _name: str, parameter: Any) -> None:
        nonlocal limit
        if parameter is not None and threading.get_ident() == thread:  # the hook is everyone's
            limit -= parameter.numel()
            if limit < 0:
                raise _damaged(card)

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def _damaged(card: ModelCard) -> ModelError:
    return ModelError(
        f"model {card.path} is damaged: its weights do not fit its config; fetch the file again"
    )
