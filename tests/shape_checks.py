"""Checks the tensor shapes in signatures while tests run, where beartype is installed.

jaxtyping's own import hook wraps functions in a way that `torch.compile` cannot trace; this one
steps aside while torch traces, and lets a function's own refusal of bad arguments come first.
"""

import functools
import importlib.abc
import importlib.util
import inspect
import itertools
import sys

NUMBERS = itertools.count()
PACKAGES = ("echoseg.nn", "echoseg.models", "echoseg.losses", "echoseg.metrics")


def checked(function):
    """Return the function with its annotated shapes checked at every call."""
    import torch
    from beartype import beartype
    from jaxtyping import TypeCheckError, jaxtyped

    strict = jaxtyped(function, typechecker=beartype)

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        if torch.compiler.is_compiling():
            return function(*args, **kwargs)
        try:
            return strict(*args, **kwargs)
        except TypeCheckError:
            function(*args, **kwargs)
            raise

    # torch.compile counts recompilations per code object: each function needs one of its own
    name = f"checked_{next(NUMBERS)}_{function.__name__}"
    wrapper.__code__ = wrapper.__code__.replace(co_name=name)
    return wrapper


def has_shapes(function):
    return "jaxtyping" in " ".join(map(repr, inspect.get_annotations(function).values()))


def check_shapes_in(module):
    """Wrap the functions and methods that a module defines and annotates with shapes."""
    for owner in (module, *vars(module).values()):
        if owner is not module and not (
            inspect.isclass(owner) and owner.__module__ == module.__name__
        ):
            continue
        for name, value in list(vars(owner).items()):
            if inspect.isfunction(value) and value.__module__ == module.__name__:
                if has_shapes(value):
                    setattr(owner, name, checked(value))


def with_checks(spec):
    """Return the spec of a module, with a loader that wraps its functions."""
    run = spec.loader.exec_module
    spec.loader.exec_module = lambda module: (run(module), check_shapes_in(module))
    return spec


class ShapeCheckFinder(importlib.abc.MetaPathFinder):
    """Finds modules of the checked packages and wraps them after they have run."""

    def find_spec(self, fullname, path, target=None):
        """Find a module as the other finders do, with a loader that wraps."""
        if not any(fullname == p or fullname.startswith(f"{p}.") for p in PACKAGES):
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                return with_checks(spec)
        return None


def install():
    """Check shapes from now on, if jaxtyping and beartype are installed."""
    if importlib.util.find_spec("beartype") and importlib.util.find_spec("jaxtyping"):
        sys.meta_path.insert(0, ShapeCheckFinder())
