"""Nested state, such as an optimizer's, as safetensors: no file of a run holds code."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

_TREE = "tree"
_CONTAINERS = {"list": list, "tuple": tuple, "dict": dict}


def write_state(path: Path, state: Any) -> None:
    """Write nested dicts, lists and tuples of tensors and JSON values to one file.

    Args:
        path: The file.
        state: Tensors of any device; keys of dicts are texts or numbers.

    Raises:
        OSError: If the file cannot be written.
    """
    tensors: dict[str, torch.Tensor] = {}
    tree = json.dumps(_without_tensors(state, tensors))
    try:
        save_file(tensors, path, metadata={_TREE: tree})
    except SafetensorError as error:
        raise OSError(f"{path}: {error}") from error


def read_state(path: Path) -> Any:
    """Read what `write_state` wrote, tensors on the CPU.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is cut, or not such a file.
    """
    try:
        with safe_open(path, "pt") as file:
            tree = json.loads((file.metadata() or {})[_TREE])
            return _with_tensors(tree, file)
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or no state of a run") from error


def _without_tensors(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """The value as JSON: containers and tensors are dicts of one item that names their kind."""
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    for kind, container in _CONTAINERS.items():
        if isinstance(value, container):
            items = value.items() if isinstance(value, dict) else value
            return {kind: [_without_tensors(item, tensors) for item in items]}
    return value


def _with_tensors(value: Any, file: Any) -> Any:
    if not isinstance(value, dict):
        return value
    [(kind, content)] = value.items()
    if kind == "tensor":
        return file.get_tensor(content)
    return _CONTAINERS[kind](_with_tensors(item, file) for item in content)
