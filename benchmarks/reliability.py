"""Are the interval of an EF and the reasons not to rely on it right? Tables and a diagram.

    python benchmarks/reliability.py camus animated:CAMUS:validation -o OUT [--jobs 2]

Each patient is evaluated by a calibration on the patients of other folds (`evaluate`). Written:
`OUT/clips.json` (delete it to measure anew), `OUT/reliability.md` and `OUT/reliability.png`.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter
from scipy.stats import spearmanr

from echoseg.data import Record, load_dataset
from echoseg.data.animate_config import AnimationConfig
from echoseg.data.animated import PREFIX, open_animated
from echoseg.evaluation.calibrate import CLEAN, PART_OF_BEAT, CalibrationClip, read_clips
from echoseg.evaluation.degrade import Degradation
from echoseg.quality.calibration_fit import calibrate, folds_of
from echoseg.quality.conformal import ef_interval
from echoseg.quality.reasons import unreliable_because
from echoseg.quality.reliability import EfInterval

OUTER_FOLDS = 5
LARGE_POINTS, GOOD_POINTS = 15.0, 10.0
LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9)
HEADER = (
    "| clips | n | covered | mean width | MAE | errors over 15 | of them unreliable | unreliable "
    "among errors up to 10 |"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluatedClip:
    """A clip with the interval and the reasons that a calibration of other patients gives it."""

    clip: CalibrationClip
    interval: EfInterval
    unreliable_because: tuple[str, ...]

    @property
    def error_points(self) -> float:
        """Absolute error of the EF."""
        return abs(self.clip.sample.error_points)

    @property
    def is_covered(self) -> bool:
        """Whether the interval holds the true EF."""
        true_ef = self.clip.sample.true_ef_percent
        return self.interval.low_percent <= true_ef <= self.interval.high_percent

    @property
    def width_points(self) -> float:
        """Width of the interval."""
        return self.interval.high_percent - self.interval.low_percent


def evaluate(
    clips: Sequence[CalibrationClip], *, level: float = 0.9, num_fitted: int | None = None
) -> list[EvaluatedClip]:
    """Give each clip interval and reasons by a calibration on the patients of other folds.

    Of the clips only the first `num_fitted` are calibrated on; by default all are.

    Raises:
        ArgumentError: If there are too few patients for the level.
    """
    folds = folds_of([clip.sample.patient for clip in clips], OUTER_FOLDS)
    evaluated: dict[int, EvaluatedClip] = {}
    for fold in np.unique(folds):
        fitted = zip(clips[:num_fitted], folds, strict=False)
        others = [clip.sample for clip, one in fitted if one != fold]
        calibration = calibrate(others, model_sha256="", source="", level=level)
        for index in np.flatnonzero(folds == fold).tolist():
            clip = clips[index]
            sample = clip.sample
            interval = ef_interval(
                sample.ef_percent,
                sample.uncertainty,
                calibration,
                view=sample.view,
                is_part_of_beat=sample.is_part_of_beat,
            )
            evaluated[index] = EvaluatedClip(
                clip=clip,
                interval=interval,
                unreliable_because=unreliable_because(
                    sample.ef_percent,
                    sample.uncertainty,
                    calibration,
                    interval=interval,
                    beats_sd_points=clip.beats_sd_points,
                    outside_percent=clip.outside_percent,
                ),
            )
    return [evaluated[index] for index in range(len(clips))]


def ef_band(clip: CalibrationClip) -> str:
    """The band of the true EF."""
    ef = clip.sample.true_ef_percent
    return "EF up to 40" if ef <= 40 else "EF 40 to 50" if ef < 50 else "EF from 50"


def beats(clip: CalibrationClip) -> str:
    """How many beats the EF rests on."""
    if clip.sample.is_part_of_beat:
        return "part of a beat"
    return f"{clip.num_beats} beat{'s' * (clip.num_beats != 1)}" if clip.num_beats else "stills"


def kind(clip: CalibrationClip) -> str:
    """Clean, part of a beat or degraded; biplane apart."""
    return f"{clip.sample.view}, {'degraded' if clip.kind in set(Degradation) else clip.kind}"


def rows(evaluated: list[EvaluatedClip], by: Callable[[CalibrationClip], str]) -> list[str]:
    """A row of the table for each group."""
    groups: dict[str, list[EvaluatedClip]] = {}
    for one in evaluated:
        groups.setdefault(by(one.clip), []).append(one)
    return [row(name, group) for name, group in sorted(groups.items())]


def row(name: str, group: list[EvaluatedClip]) -> str:
    """One row of the table."""
    errors = np.array([one.error_points for one in group])
    fires = np.array([bool(one.unreliable_because) for one in group])
    large, good = errors > LARGE_POINTS, errors <= GOOD_POINTS
    share = f"{100 * fires[good].mean():.0f} %" if good.any() else "-"
    return (
        f"| {name} | {len(group)} | {100 * np.mean([one.is_covered for one in group]):.0f} % | "
        f"{np.mean([one.width_points for one in group]):.1f} | {errors.mean():.1f} | "
        f"{large.sum()} | {(fires & large).sum()} | {share} |"
    )


def table(evaluated: list[EvaluatedClip]) -> str:
    """All tables as Markdown."""
    whole = [one for one in evaluated if one.clip.kind != PART_OF_BEAT]
    clean = [one for one in whole if one.clip.kind == CLEAN]
    lines = [HEADER, "|---" * 8 + "|", row("all", evaluated)]
    lines += rows(evaluated, kind) + rows(evaluated, beats) + rows(clean, ef_band)
    lines += rows(clean, lambda clip: f"quality {clip.quality or 'unknown'}")
    lines += rows(whole, lambda clip: clip.kind)
    for name, some in (("all whole beats", whole), ("clean", clean)):
        widths, errors = (
            [getattr(one, key) for one in some] for key in ("width_points", "error_points")
        )
        lines.append(
            f"\nRank correlation of width and error, {name}: {spearmanr(widths, errors)[0]:.2f}."
        )
    for view in sorted({one.clip.sample.view for one in clean}):
        errors = [one.clip.sample.error_points for one in clean if one.clip.sample.view == view]
        spread = float(np.std(errors, ddof=1))
        lines.append(f"\n{view}, clean: SD of the error {spread:.1f}, 3.29 SD {3.29 * spread:.0f}.")
    return "\n".join(lines) + "\n"


def draw(
    evaluated: list[EvaluatedClip], coverage: Iterable[tuple[float, float]], path: Path
) -> None:
    """Coverage against level, error against half width, and what the reasons find."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8), layout="constrained")
    first, second, third = figure.subplots(1, 3)
    levels, covered = zip(*coverage, strict=True)
    first.plot([0.4, 1], [0.4, 1], color="0.7")
    first.plot(levels, covered, "o-")
    first.set(xlabel="level", ylabel="covered", title="interval")
    widths, errors = (
        np.array([getattr(one, key) for one in evaluated])
        for key in ("width_points", "error_points")
    )
    fires = np.array([bool(one.unreliable_because) for one in evaluated])
    for chosen, label in ((~fires, "reliable"), (fires, "unreliable")):
        second.plot(widths[chosen], errors[chosen], ".", label=label)
    second.set(xlabel="width of the 90 % interval (points)", ylabel="error (points)")
    second.legend()
    edges = np.array([0, 5, 10, 15, 20, 100])
    bins = np.digitize(errors, edges[1:-1])
    shares = [
        100 * fires[bins == index].mean() if (bins == index).any() else 0 for index in range(5)
    ]
    third.bar(["0-5", "5-10", "10-15", "15-20", "over 20"], shares)
    third.set(xlabel="error (points)", ylabel="unreliable (%)", title="reasons")
    figure.savefig(path, dpi=130)


def records_of(data: str) -> tuple[Record, ...]:
    """The records; animated clips of two beats, as `echoseg calibrate` takes them."""
    if data.startswith(PREFIX):
        return open_animated(data, config=AnimationConfig(num_beats=2)).records
    return load_dataset(data).records


def main() -> None:
    """Measure, evaluate, print and draw."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    cache, adapter = options.output / "clips.json", TypeAdapter(list[CalibrationClip])
    if not cache.exists():
        clips = read_clips(options.model, records_of(options.data), jobs=options.jobs)
        cache.write_bytes(adapter.dump_json(clips, indent=1, round_trip=True))
    clips = adapter.validate_json(cache.read_bytes())
    evaluated = evaluate(clips)
    coverage = [
        (level, float(np.mean([one.is_covered for one in evaluate(clips, level=level)])))
        for level in LEVELS
    ]
    (options.output / "reliability.md").write_text(table(evaluated))
    draw(evaluated, coverage, options.output / "reliability.png")
    print(table(evaluated))


if __name__ == "__main__":
    main()
