"""TRAINING. Clips, few of them labeled, in; a network out.

`echoseg.train` is this package and the function `train.train.train` at once, whichever module is
imported first: `echoseg.train(net, data)` trains, `echoseg.train.loop` is a module.
"""

import sys
from inspect import Signature, signature
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """A package that can be called like its main function."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Train a model; see `train.train.train`."""
        from echoseg.train.train import train

        return train(*args, **kwargs)

    @property
    def __signature__(self) -> Signature:
        """The signature of the function, for `help` and `inspect`."""
        from echoseg.train.train import train

        return signature(train)


def _doc(_: ModuleType) -> str | None:
    from echoseg.train.train import train

    return train.__doc__


_CallablePackage.__doc__ = property(_doc)  # type: ignore[assignment]  # for help(echoseg.train)
sys.modules[__name__].__class__ = _CallablePackage
