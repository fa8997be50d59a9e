"""Phantom clips, simulated on the fly in one process or several."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from echoseg.clip import Annotation, Clip, Phase, View
from echoseg.data import load_dataset
from echoseg.errors import ConfigError, DatasetError
from echoseg.parallel import check_jobs, parallel_map
from echoseg.phantom import Phantom, PhantomConfig, Truth
from echoseg.phantom.statistics import Still


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulatedClip:
    """A phantom clip with its ground truth."""

    config: PhantomConfig
    clip: Clip
    annotation: Annotation
    truth: Truth

    @property
    def name(self) -> str:
        """Unique name of seed, view and tier."""
        return name_of(self.config)


def name_of(config: PhantomConfig) -> str:
    """Name of a clip's files."""
    return f"phantom{config.seed:06d}_{config.view}_{config.tier}"


def simulate(config: PhantomConfig) -> SimulatedClip:
    """Simulate a clip.

    Raises:
        ConfigError: If the heart cannot reach the requested ejection fraction.
    """
    phantom = Phantom(config)
    truth = phantom.truth()
    clip = Clip(
        frames=phantom.frames(),
        times_s=truth.times_s,
        spacing_mm=truth.spacing_mm,
        view=config.view,
        r_wave_times_s=tuple(
            float(t) for t in truth.r_peaks_s if 0 <= t <= float(truth.times_s[-1])
        ),
        source=f"phantom seed {config.seed}",
    )
    still = truth.ed_frame == truth.es_frame
    annotation = Annotation(
        masks=truth.masks,
        ed_frame=truth.ed_frame,
        es_frame=None if still else truth.es_frame,
        ef_percent=None if still else truth.ef_percent,
        edv_ml=float(truth.volume_ml.max()),
        esv_ml=float(truth.volume_ml.min()),
        quality=str(config.tier),
    )
    return SimulatedClip(config=config, clip=clip, annotation=annotation, truth=truth)


def simulated_pair(config: PhantomConfig) -> tuple[Clip, Annotation]:
    """A simulated clip and its annotation, as a `Record` reads them."""
    simulated = simulate(config)
    return simulated.clip, simulated.annotation


def stills_of(root: Path, split: str = "train", view: View = View.A4C) -> Iterator[Still]:
    """Yield the annotated ED and ES frames of one view of a split of CAMUS or EchoNet-Dynamic.

    Raises:
        DatasetError: If the folder is neither.
    """
    dataset = load_dataset(root)
    if dataset.name not in ("camus", "echonet_dynamic"):
        raise DatasetError(f"{root} must be CAMUS or EchoNet-Dynamic, it is {dataset.name}")
    records = dataset.split(split).records
    return _stills(view, (record.load() for record in records if record.view is view))


def phantom_stills(
    num_hearts: int, first_seed: int, view: View = View.A4C, jobs: int = 1
) -> Iterator[Still]:
    """Yield ED and ES of the phantom at medium tier, as in CAMUS.

    Raises:
        ConfigError: Immediately, if there are fewer than 2 hearts or too many.
    """
    if num_hearts < 2:
        raise ConfigError(f"hearts must be at least 2, got {num_hearts}")
    first = PhantomConfig(
        seed=first_seed, view=view, size_px=192, num_frames=16, frame_rate_hz=16, overlay=False
    )
    clips = simulate_all(first.next_hearts(num_hearts), jobs)
    return _stills(view, ((one.clip, one.annotation) for one in clips))


def _stills(view: View, clips: Iterable[tuple[Clip, Annotation | None]]) -> Iterator[Still]:
    for clip, annotation in clips:
        assert annotation is not None  # each clip is annotated
        for phase, frame in ((Phase.ED, annotation.ed_frame), (Phase.ES, annotation.es_frame)):
            if frame is not None:
                yield Still(
                    picture=clip.frames[frame],
                    mask=annotation.masks[frame],
                    spacing_mm=clip.spacing_mm,
                    phase=phase,
                    view=view,
                )


def simulate_all(configs: Iterable[PhantomConfig], jobs: int = 1) -> Iterator[SimulatedClip]:
    """Simulate clips in order, in `jobs` processes, at most one per CPU.

    Raises:
        ConfigError: If a heart is not possible.
        DatasetError: If a worker process was killed.
    """
    return parallel_map(simulate, configs, check_jobs(jobs))
