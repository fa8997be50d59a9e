"""Recipes: functions that return a whole run, to be changed field by field.

    config = recipes.make("mssnet", labeled_fraction=0.05, seed=1, data=("camus-folder",))

All share network, size, augmentation, steps and learning rate, so that what differs between two
recipes is the way of learning alone.
"""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from echoseg.errors import ConfigError
from echoseg.train.config import TrainConfig, train_config
from echoseg.train.methods import METHODS


def _plain(method: str) -> Callable[..., TrainConfig]:
    def recipe(**changes: Any) -> TrainConfig:
        return train_config(**{"method": method, **changes})

    recipe.__doc__ = f"Return a run of `{method}` on whatever data is given."
    return recipe


def rac_only(**changes: Any) -> TrainConfig:
    """Return a run of MSSNet's learning with RAC and without DOC."""
    return train_config(
        **{"method": "mssnet", "method_options": {"doc": False}, **changes},
    )


def doc_only(**changes: Any) -> TrainConfig:
    """Return a run of MSSNet's learning with DOC and without RAC."""
    return train_config(
        **{"method": "mssnet", "method_options": {"rac": False}, **changes},
    )


RECIPES: dict[str, Callable[..., TrainConfig]] = {
    **{name: _plain(name) for name in METHODS},
    "doc_only": doc_only,
    "rac_only": rac_only,
}
"""Name -> recipe."""


def make(name: str, **changes: Any) -> TrainConfig:
    """Return the run of a recipe with some fields changed.

    Raises:
        ConfigError: If there is no such recipe (the nearest is told) or a field is wrong.
    """
    if name not in RECIPES:
        near = get_close_matches(name, RECIPES, 1, 0.4)
        hint = f"did you mean {near[0]}?" if near else "see the list"
        raise ConfigError(
            f"recipe must be one of {', '.join(sorted(RECIPES))}, got {name!r}; {hint}"
        )
    return RECIPES[name](**changes)
