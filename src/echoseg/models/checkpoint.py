"""Weights, config and card in one safetensors file; loading needs nothing else."""

from pathlib import Path
from typing import Any

from echoseg.errors import ConfigError, ModelError
from echoseg.files import atomic_write
from echoseg.weights.card import (
    DEFAULT_MODEL,
    FORMAT_VERSION,
    Card,
    Checkpoint,
    find_checkpoint,
    read_card,
)
from echoseg.weights.card import SHIPPED as SHIPPED


def save_checkpoint(path: Path, model: Any, card: Card) -> None:
    """Write `model` (a Segmenter with a pydantic `config`) and its card beside each other.

    The file is written under another name and renamed, so that a cut leaves no half file.
    """
    from safetensors.torch import save_file

    metadata = {
        "echoseg_format": FORMAT_VERSION,
        "card": card.model_dump_json(),
        "config": model.config.model_dump_json(),
    }
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    with atomic_write(path) as partial:
        save_file(tensors, partial, metadata=metadata)
        partial.chmod(0o644)  # safetensors keeps it to its owner


ENCODER = ("stem.", "encoder")
"""What the names of an encoder's parameters begin with (`nn.unet`)."""


def load_encoder(model: Any, name_or_path: str) -> None:
    """Give a network the encoder of another, or that of any safetensors file with its names.

    Raises:
        ModelError: If there is no such file, the network has no encoder of the house, or the file's
            has other names, shapes or kinds of numbers, or some that are none.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    own = {name: x for name, x in model.state_dict().items() if name.startswith(ENCODER)}
    if not own:
        raise ModelError(
            f"encoder_start needs a network with the encoder of nn.unet, {type(model).__name__} "
            "has another; leave encoder_start out, or take another model"
        )
    try:
        path = find_checkpoint(name_or_path)
    except ModelError as error:
        raise ModelError(
            f"encoder_start must be one of {', '.join(SHIPPED)} or a safetensors file that is "
            f"there, got {name_or_path!r}"
        ) from error
    try:
        given = {k: x for k, x in load_file(path).items() if k.startswith(ENCODER)}
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"encoder_start must be a safetensors file, {path} is not ({error})"
        ) from error
    for name, x in own.items():
        there = tuple(given[name].shape) if name in given else "missing"
        if there != tuple(x.shape):
            raise ModelError(
                f"encoder_start must have {type(model).__name__}'s encoder, whose {name} is "
                f"{tuple(x.shape)}; in {path} it is {there}; give architecture the widths of that "
                "file, or leave encoder_start out"
            )
        if given[name].is_floating_point() != x.is_floating_point():
            raise ModelError(
                f"encoder_start must have {x.dtype} or the like for {name}, {path} has "
                f"{given[name].dtype}; give weights as they were trained"
            )
        if not given[name].isfinite().all():
            raise ModelError(
                f"encoder_start must have finite weights, {name} in {path} has some that are no "
                "number; give the file of a training that did not fail"
            )
    model.load_state_dict({name: given[name] for name in own}, strict=False)


def load_checkpoint(
    name_or_path: str = DEFAULT_MODEL, *, device: str = "cpu"
) -> tuple[Any, Checkpoint]:
    """Load a network in evaluation mode, and its card.

    A file may name a network of another package, `package.module:Class`. That module is then
    imported, which runs its code: load such files only from people you trust. The checkpoints
    shipped with echoseg never do.

    Args:
        name_or_path: Name of a shipped checkpoint, or path of a .safetensors file.
        device: Torch device.

    Raises:
        ModelError: If there is no such checkpoint, it is damaged, or its weights do not fit.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from echoseg.models.build import MODELS, build_model

    checkpoint = read_card(find_checkpoint(name_or_path))
    architecture = checkpoint.card.architecture
    is_foreign = ":" in architecture and name_or_path not in SHIPPED
    if architecture not in MODELS and not is_foreign:
        raise ModelError(
            f"model {checkpoint.path} has architecture {architecture!r}, "
            f"known are {', '.join(MODELS)}; update echoseg"
        )
    options = checkpoint.config.get("options", {}) if is_foreign else checkpoint.config
    try:
        model: Any = build_model(architecture, options)
    except ConfigError as error:
        if is_foreign:
            raise ModelError(f"{checkpoint.path}: {error}") from error
        raise _damaged(checkpoint) from error
    try:
        weights = load_file(checkpoint.path)
        model.load_state_dict(weights)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise _damaged(checkpoint) from error
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise ModelError(
            f"model {checkpoint.path} must have finite weights, it has some that are no number: "
            "its training failed; train it again with a lower learning rate"
        )
    # channels last: convolutions on a CPU are half as fast again
    return model.to(device, memory_format=torch.channels_last).eval(), checkpoint


def _damaged(checkpoint: Checkpoint) -> ModelError:
    return ModelError(
        f"model {checkpoint.path} is damaged: its weights do not fit its config; "
        "fetch the file again"
    )
