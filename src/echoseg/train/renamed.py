"""Former names of training settings, read for one more version."""

from collections.abc import Mapping
from typing import Any

from echoseg.errors import ConfigError

RENAMED_FIELDS = {
    "averaging": "ema_decay",
    "beside": "extra_data",
    "beside_share": "extra_data_fraction",
    "data_shares": "data_weights",
    "encoder_start": "pretrained_encoder",
    "frames_labelled": "labeled_frames",
    "labels": "labeled_fraction",
    "labels_seed": "split_seed",
    "num_labelled": "num_labeled",
    "num_unlabelled": "num_unlabeled",
    "objective": "method",
    "objective_options": "method_options",
    "ramp_share": "rampup_fraction",
    "spoilt_share": "corruption_prob",
    "start": "init_from",
}
"""Former field of `TrainConfig` -> its present name."""
RENAMED_OPTIONS = {
    "box_share": "box_fraction",
    "least_prob": "confidence_threshold",
    "levels": "deep_supervision",
    "mixed_share": "mix_prob",
    "num_looks": "num_passes",
}
"""Former argument of a method -> its present name."""
RENAMED_VALUES = {"labeled_frames": {"ends": "ed_es"}}
"""Field -> former value -> present value."""


def with_current_names(fields: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Translate former names of fields, method options and values.

    Returns:
        The fields by their present names, and one warning for each former name that was used.

    Raises:
        ConfigError: If a field is given by both names.
    """
    current, warnings = {}, []
    for name, value in fields.items():
        new = RENAMED_FIELDS.get(name, name)
        if new != name:
            warnings.append(f"{name} is now called {new}; the former name will be removed")
        if new == "method_options" and isinstance(value, Mapping):
            for former in RENAMED_OPTIONS.keys() & value.keys():
                present = RENAMED_OPTIONS[former]
                warnings.append(f"{new}.{former} is now called {new}.{present}")
            value = {RENAMED_OPTIONS.get(key, key): each for key, each in value.items()}
        if isinstance(value, str) and value in RENAMED_VALUES.get(new, {}):
            present = RENAMED_VALUES[new][value]
            warnings.append(f"{new}={value} is now written {new}={present}")
            value = present
        if new in current:
            raise ConfigError(f"{new} is given twice; leave out its former name")
        current[new] = value
    return current, warnings
