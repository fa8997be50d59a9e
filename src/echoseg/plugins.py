"""Names to objects: an entry of a table, or `package.module:Name` of anybody's own code."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from echoseg.errors import ConfigError


def resolve(name: str, table: Mapping[str, Any], kind: str) -> Any:
    """Return the object that a name stands for.

    Args:
        name: A key of `table`, or `package.module:Name` for an object of another package. The
            module is imported; the current folder counts when Python's path holds it.
        table: The built-in objects by name.
        kind: What is looked up, for the message, such as `model`.

    Raises:
        ConfigError: If the name is neither, or the module or its object cannot be had.
    """
    if name in table:
        return table[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        known = f"one of {', '.join(sorted(table))}, or " if table else ""
        raise ConfigError(f"{kind} must be {known}package.module:Name, got {name!r}")
    try:
        target = import_module(module)
    except Exception as error:  # whatever another package's code raises while it is imported
        missing = isinstance(error, ModuleNotFoundError)
        raise ConfigError(
            f"{kind} {name!r}: importing {module} failed ({type(error).__name__}: {error}); "
            f"{'install it or add its folder to PYTHONPATH' if missing else 'mend that module'}"
        ) from error
    try:
        for part in attribute.split("."):
            target = getattr(target, part)
    except AttributeError:
        raise ConfigError(f"{kind} {name!r}: {module} has no {attribute}") from None
    return target
