"""Recipes: named training settings, to be changed field by field.

    config = recipes.make("mssnet", labeled_fraction=0.05, seed=1, data=("camus-folder",))

All share network, size, augmentation, steps and learning rate, so that two recipes differ in the
training method alone.
"""

from difflib import get_close_matches
from typing import Any

from echoseg.errors import ConfigError
from echoseg.train.config import TrainConfig, train_config
from echoseg.train.methods import METHODS

RECIPES: dict[str, dict[str, Any]] = {
    **{name: {"method": name} for name in METHODS},
    "doc_only": {"method": "mssnet", "method_options": {"rac": False, "doc": True}},
    "rac_doc": {"method": "mssnet", "method_options": {"doc": True}},
    "rac_only": {"method": "mssnet", "method_options": {"doc": False}},
}
"""Name -> settings."""


def make(name: str, **settings: Any) -> TrainConfig:
    """Build the config of a recipe, or of a `package.module:Method`, with some settings changed.

    Raises:
        ConfigError: If there is no such recipe (the message suggests one) or a setting is wrong.
    """
    return train_config(**with_recipe(name, settings))


def with_recipe(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a recipe, some changed; options of its method are changed one by one.

    Raises:
        ConfigError: If there is no such recipe; the message suggests one.
    """
    if ":" in name:
        return {"method": name, **settings}
    if name not in RECIPES:
        near = get_close_matches(name, RECIPES, 1, 0.4)
        hint = f"did you mean {near[0]}?" if near else "package.module:Method is possible too"
        raise ConfigError(
            f"method must be one of {', '.join(sorted(RECIPES))}, got {name!r}; {hint}"
        )
    fields = {**RECIPES[name], **settings}
    if isinstance(options := settings.get("method_options"), dict):
        fields["method_options"] = {**RECIPES[name].get("method_options", {}), **options}
    return fields
