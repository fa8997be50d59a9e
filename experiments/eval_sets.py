"""Evaluation sets by name.

phantom:SPLIT              clips of the frozen phantom: validation, test or held_out_style
phantom:SPLIT:corrupted    the same with corrupted frames
animated:FOLDER[:SPLIT]    beats made of a folder's ED and ES stills; splits as below
FOLDER[:SPLIT]             a data set; validation where no split is named; all: every clip
"""

from echoseg.data import Record, animated, load_dataset
from echoseg.errors import ConfigError, DatasetError
from echoseg.evaluation.corruptions import corrupt_records
from echoseg.evaluation.run import phantom_records

CORRUPTION_PROB = 0.15
"""Probability that a frame of a corrupted evaluation set is corrupted."""


def eval_records(name: str, num_hearts: int | None = None) -> tuple[Record, ...]:
    """The records of an evaluation set.

    Args:
        name: As listed above.
        num_hearts: Number of phantom hearts per tier; None: all.

    Raises:
        EchosegError: If it does not exist.
    """
    place, _, rest = name.partition(":")
    if place == "animated":
        if name.endswith(":all"):
            return load_dataset(name.removesuffix(":all")).records
        folder, split = animated.parse_name(name)
        name = f"{animated.PREFIX}{folder}:{split or 'validation'}"
        return tuple(load_dataset(name).records)
    if place != "phantom":
        return load_dataset(place).split(rest or "validation").records
    split, _, suffix = rest.partition(":")
    if suffix not in ("", "corrupted"):
        raise ConfigError(
            f"an evaluation set must be phantom:SPLIT or phantom:SPLIT:corrupted, got {name!r}"
        )
    records = phantom_records(split, hearts=num_hearts)
    return corrupt_records(records, CORRUPTION_PROB) if suffix else records


def clip_records(
    name: str, num_hearts: int | None = None, num_clips: int | None = None
) -> tuple[Record, ...]:
    """The clips of an evaluation set that have masks, or some of them spread over the set.

    Raises:
        EchosegError: If the set does not exist, or holds only stills or no masks.
    """
    records = [r for r in eval_records(name, num_hearts) if r.labelled and not r.stills]
    if not records:
        raise DatasetError(
            f"{name} must have clips with masks, not only stills; give phantom:SPLIT or "
            "animated:FOLDER"
        )
    if num_clips is None or num_clips >= len(records):
        return tuple(records)
    if num_clips < 1:
        raise ConfigError(f"num_clips must be at least 1, got {num_clips}")
    return tuple(records[index * len(records) // num_clips] for index in range(num_clips))
