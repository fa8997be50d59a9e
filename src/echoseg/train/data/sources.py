"""What a run learns from, by name: the phantom, a file of clips, or a folder in a known layout.

phantom:200             200 clips simulated on the fly
phantom:200:5000        the same from seed 5000 on
clips.npz               frames and masks, N T S S
FOLDER or clips.csv     any data set that `datasets` knows; of CAMUS the A4C's ED and ES
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from echoseg.clip import View
from echoseg.data import detect
from echoseg.data.cache import CachedClips
from echoseg.data.phantom import PhantomClips
from echoseg.errors import ConfigError, DatasetError
from echoseg.phantom import PhantomConfig, Tier
from echoseg.train.data.pool import Pool, camus_pool, phases_of, pool_of, stored_pool
from echoseg.train.data.pool_loader import collection_pool, has_validation

PHANTOM_FRAMES = 6
TIERS = (*[Tier.EASY] * 3, *[Tier.MEDIUM] * 4, *[Tier.HARD] * 2, Tier.EXTREME)
CAMUS_NOTICE = (
    "weights trained on CAMUS (Leclerc et al., IEEE TMI 2019): CC BY-NC-SA 4.0, non-commercial "
    "research only; --model phantom is free of this"
)


class Terms(NamedTuple):
    """What a data set's owners ask of weights trained on it."""

    title: str
    licence: str
    notice: str


def _echonet(name: str) -> Terms:
    return Terms(
        name,
        f"{name} research use",
        f"weights trained on {name}: its data use agreement allows non-commercial research only "
        "and forbids sharing the data",
    )


TERMS = {
    "camus": Terms("CAMUS", "CC-BY-NC-SA-4.0", CAMUS_NOTICE),
    "camus_mhd": Terms("CAMUS", "CC-BY-NC-SA-4.0", CAMUS_NOTICE),
    "ted": Terms("TED", "CC-BY-NC-SA-4.0", CAMUS_NOTICE.replace("CAMUS", "TED, CAMUS's sequences")),
    "echonet_dynamic": _echonet("EchoNet-Dynamic"),
    "echonet_pediatric": _echonet("EchoNet-Pediatric"),
    "echonet_lvh": _echonet("EchoNet-LVH"),
    "phantom": Terms("the phantom", "Apache-2.0", ""),
}
"""Key in `DATASETS` -> terms."""
OWN_TERMS = Terms(
    "the user's own data",
    "as the data's owner allows",
    "weights trained on clips of your own: whose pictures they are decides what may be done",
)


class Source(NamedTuple):
    """What may be learnt from, and what its owners ask for."""

    pool: Pool
    licence: str
    notice: str
    words: str
    """What weights trained on it were trained on, for their card."""
    num_left_out: int = 0
    """Clips that cannot be used."""


def open_source(
    name: str, size_px: int, *, validation: bool = False, field: str = "data"
) -> Source:
    """Return the clips of a source; its validation split where asked for.

    Args:
        name: See the module.
        size_px: Side of the square frames.
        validation: The part that is never learnt from.
        field: Of the run, which a refusal names.

    Raises:
        ConfigError: If the name says no number of clips.
        DatasetError: If nothing of the name is there, or its layout is unknown.
    """
    if name.startswith("phantom:"):
        return Source(_phantom_pool(name, size_px, field), "Apache-2.0", "", "phantom clips")
    path = Path(name)
    if path.is_file() and path.suffix != ".csv":
        return Source(_of_size(stored_pool(path), size_px), "Apache-2.0", "", "stored clips")
    if (path / "database_nifti").is_dir():
        pool = camus_pool(path, size_px, "validation" if validation else "training")
        words = "the CAMUS training patients' A4C ED and ES frames"
        return Source(pool, "CC-BY-NC-SA-4.0", CAMUS_NOTICE, words)
    if not path.exists():
        raise DatasetError(
            f"{field} must be phantom:N, an .npz file or the folder of a data set, "
            f"{name!r} is not there"
        )
    dataset = detect(path)
    if dataset == "cache":
        dataset = CachedClips(path).dataset
    terms = TERMS.get(dataset, OWN_TERMS)
    pool, num_left_out = collection_pool(path, size_px, "validation" if validation else "train")
    words = f"the training clips of {terms.title}"
    return Source(pool, terms.licence, terms.notice, words, num_left_out)


def open_validation(data: tuple[str, ...], name: str | None, size_px: int) -> Pool | None:
    """Return what a run is scored on: the source named, or the first one's validation split."""
    if name is not None:
        return open_source(name, size_px, validation=True, field="validation").pool
    for each in data:
        path = Path(each)
        is_collection = path.is_dir() or (path.is_file() and path.suffix == ".csv")
        if is_collection and has_validation(path):
            return open_source(each, size_px, validation=True).pool
    return None


def join(
    pools: list[Pool], shares: tuple[float, ...] | None = None, *, num_frames: int = 1
) -> Pool:
    """Return one pool of all clips; longer ones are thinned to as many frames as the shortest have.

    Args:
        pools: One a source.
        shares: How often a labelled clip comes from each; by their numbers of clips otherwise.
        num_frames: Of a clip in a step; none is thinned to fewer, shorter ones stay as they are.

    Raises:
        ConfigError: If there are not as many shares as pools, or one is not above 0.
    """
    if shares is not None and (len(shares) != len(pools) or min(shares) <= 0):
        raise ConfigError(
            f"data_weights must be a number above 0 for each of {len(pools)} sources, got {shares}"
        )
    if len(pools) == 1:
        return pools[0]
    most = max(num_frames, min(pool.frames.shape[1] for pool in pools))
    chosen = [_thinned(pool.frames.shape[1], most) for pool in pools]

    def part(take: Callable[[Pool], Tensor]) -> Tensor:
        return torch.cat([take(pool)[:, times] for pool, times in zip(pools, chosen, strict=True)])

    return Pool(
        frames=part(lambda pool: pool.frames),
        masks=part(lambda pool: pool.masks),
        truth=part(lambda pool: pool.truth),
        phases=part(lambda pool: pool.phases),
        patients=tuple(name for pool in pools for name in pool.patients),
        known_labels=torch.cat([pool.known_labels for pool in pools]),
        weights=torch.cat(
            [
                pool.weights
                if shares is None
                else pool.weights * shares[k] / _labelled_weight(pool)
                for k, pool in enumerate(pools)
            ]
        ),
        lengths=torch.cat([pool.lengths.clamp(max=most) for pool in pools]),
    )


def _thinned(have: int, want: int) -> Tensor:
    """Return `want` of `have` frames, spread evenly; all and the last again if less."""
    if have < want:
        return torch.arange(want).clamp(max=have - 1)
    return torch.linspace(0, have - 1, want).round().long()


def _labelled_weight(pool: Pool) -> Tensor:
    """Return how often a labelled clip of the pool is drawn, all of them together."""
    return (pool.weights * pool.is_labeled).sum().clamp(min=1e-6)


def phantom_config(seed: int, size_px: int, num_frames: int = PHANTOM_FRAMES) -> PhantomConfig:
    """Return the training clip of a seed: mostly A4C, all tiers, slow frame rates."""
    rng = np.random.default_rng([seed, 77])
    return PhantomConfig(
        seed=seed,
        view=View(str(rng.choice(["A4C", "A2C", "ALAX"], p=[0.86, 0.1, 0.04]))),
        tier=TIERS[seed % len(TIERS)],
        size_px=size_px,
        num_frames=num_frames,
        frame_rate_hz=float(rng.choice([8.0, 12.0, 20.0, 40.0])),
    )


def _phantom_pool(name: str, size_px: int, field: str) -> Pool:
    numbers = name.split(":")[1:]
    if not all(part.isdecimal() for part in numbers) or len(numbers) > 2 or not int(numbers[0]):
        raise ConfigError(
            f"{field} must be phantom:N or phantom:N:FIRST_SEED with whole numbers, N from 1 on, "
            f"got {name!r}"
        )
    num, first = int(numbers[0]), int(numbers[1]) if len(numbers) > 1 else 0
    clips = PhantomClips([phantom_config(first + i, max(size_px, 64)) for i in range(num)])
    filmed = [clips[index] for index in range(num)]
    frames, masks = (torch.from_numpy(np.stack(each)) for each in zip(*filmed, strict=True))
    names = [f"phantom-{first + index}" for index in range(num)]
    return _of_size(pool_of(frames, masks, phases_of(masks), names), size_px)


def _of_size(pool: Pool, size_px: int) -> Pool:
    """Return the pool on another square grid."""
    if pool.frames.shape[-1] == size_px:
        return pool
    size = (size_px, size_px)
    frames = functional.interpolate(
        pool.frames.float(), size, mode="bilinear", antialias=True, align_corners=False
    )
    masks = functional.interpolate(pool.truth.float(), size, mode="nearest-exact")
    return pool_of(
        frames.round().to(torch.uint8), masks.to(torch.uint8), pool.phases, list(pool.patients)
    )
