"""Evaluate a network over records, in one process or several, with identical tables."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch.nn import Module

from echoseg.clip import Annotation, Clip, Label
from echoseg.data import Dataset, Issue, Record, load_dataset
from echoseg.data.hashing import hash_sources
from echoseg.data.records import IssueKind
from echoseg.errors import ConfigError, DatasetError, EchosegError, ModelError
from echoseg.evaluation.items import ClipRow, Item, evaluate_clip, in_fixed_order, scored_items
from echoseg.evaluation.predictors import Predictor, predictor_of
from echoseg.files import Replace
from echoseg.inference.backends.select import choose_device
from echoseg.parallel import check_jobs, parallel_map

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Evaluation:
    """Results of a network over clips.

    Attributes:
        model: Name or path of the checkpoint, or the class name of a network.
        items: One per structure and frame, in a fixed order.
        clips: One per clip, ordered by name.
        problems: Clips that could not be evaluated, with the reason.
        data_sha256: Hash of the names and bytes of everything that was read.
        records: The clips, labeled or not.
        dataset: Where they come from; None for records.
        predictor: Where the masks come from.
        notes: What a reader must know of the scores.
    """

    model: str
    items: tuple[Item, ...]
    clips: tuple[ClipRow, ...]
    problems: tuple[Issue, ...]
    data_sha256: str
    records: tuple[Record, ...] = ()
    dataset: Dataset | None = None
    predictor: Predictor
    notes: tuple[str, ...] = ()

    @property
    def summary(self) -> dict[str, Any]:
        """The same as `to_dict()`."""
        return self.to_dict()

    def save(self, folder: str | Path, *, force: Replace = False, pictures: bool = True) -> Path:
        """Write tables, statistics, report and figure, as `echoseg evaluate` does.

        Args:
            folder: Result folder.
            force: Replace a result that is as echoseg wrote it; "keep": move it aside.
            pictures: Show the worst frames, which are images of the data, in the report.

        Raises:
            OutputError: If the folder exists without `force`, or cannot be written.
        """
        from echoseg.evaluation.results import source_of, write_results

        source = source_of(self.dataset, self.records)
        write_results(self, source, Path(folder), pictures=pictures, force=force)
        return Path(folder).absolute()

    def to_dict(self) -> dict[str, Any]:
        """Means with confidence intervals by structure, phase, view and so on; EF; JSON types."""
        from echoseg.evaluation.summary import summarise

        return summarise(self)

    def __repr__(self) -> str:
        """Show the mean Dice of each structure and the EF error on one line."""
        summary = self.to_dict()
        parts = [
            f"{name} Dice {scores['dice']['mean']:.3f}"
            for name, scores in summary["structures"].items()
            if scores["dice"]["n"]
        ]
        if summary["ef"] and summary["ef"]["n"]:
            parts.append(f"EF MAE {summary['ef']['mae']:.1f} points")
        return f"Evaluation({self.model!r}, {len(self.clips)} clips: {', '.join(parts)})"


@dataclass(frozen=True, slots=True)
class _ClipResult:
    name: str
    sha256: str | None = None
    """Hash of what was read."""
    items: Sequence[Item] = ()
    row: ClipRow | None = None
    problem: Issue | None = None
    """Why the clip cannot be read, or not be segmented by this network."""
    labels: frozenset[Label] = frozenset()
    """Labels in its masks."""


def evaluate(  # noqa: PLR0913  # what to evaluate, and how to run it
    model: str | Path | Module | Predictor,
    data: str | Path | Dataset | Sequence[Record],
    *,
    split: str | None = None,
    image_size: int | None = None,
    device: str = "cpu",
    jobs: int = 1,
    progress: Progress = lambda done, total: None,
) -> Evaluation:
    """Segment and score every clip that has an annotation.

    Examples:
        >>> echoseg.evaluate("camus", "CAMUS/", split="test")

    Args:
        model: Name or path of a checkpoint, an `.onnx` file, a network, already on `device`, or a
            predictor: `OnnxNetwork` or `PredictionFolder`.
        data: A data set, its folder, or records in any order.
        split: Split of a data set, or "all"; None: test, else validation.
        image_size: Side of the network's square input in pixels; None: that of its card.
        device: `auto`, `cpu`, `cuda` or `mps`; the last digits may differ between them.
        jobs: Worker processes; the result does not depend on their number.
        progress: Called with (clips done, number of clips).

    Raises:
        ModelError: If the checkpoint cannot be loaded.
        ConfigError: If a network comes without `image_size` or a name with it, or if jobs or device
            is out of range.
        DatasetError: If there is no such split, no clip has an annotation, or none can be
            evaluated.
    """
    check_jobs(jobs)
    device = choose_device(device)
    dataset = load_dataset(data) if isinstance(data, str | Path) else data
    records = select_split(dataset, split)
    predictor = predictor_of(model, device, image_size)
    labelled = sorted((r for r in records if r.labelled), key=lambda record: record.name)
    if not labelled:
        raise DatasetError(
            f"the data must have masks to evaluate with, none of its {len(records)} clips has one"
        )
    results: list[_ClipResult] = []
    work = partial(_evaluate_record, predictor)
    for index, result in enumerate(parallel_map(work, labelled, jobs)):
        results.append(result)
        progress(index + 1, len(labelled))
    problems = tuple(result.problem for result in results if result.problem is not None)
    if not any(result.row for result in results):
        raise DatasetError(
            f"none of the {len(labelled)} clips can be evaluated, the first: {problems[0].reason}"
        )
    read = [f"{result.name} {result.sha256}\n" for result in results if result.sha256]
    items = in_fixed_order(item for result in results for item in result.items)
    items, notes = scored_items(items, predictor, [result.labels for result in results])
    return Evaluation(
        model=predictor.name,
        items=tuple(items),
        clips=tuple(result.row for result in results if result.row is not None),
        problems=problems,
        data_sha256=hashlib.sha256("".join(read).encode()).hexdigest(),
        records=tuple(records),
        dataset=dataset if isinstance(dataset, Dataset) else None,
        predictor=predictor,
        notes=notes,
    )


def select_split(
    dataset: Dataset | Sequence[Record],
    split: str | None = None,
    defaults: Sequence[str] = ("test", "validation"),
) -> Sequence[Record]:
    """The records of a split: the requested one, else the first of `defaults` that exists.

    Data without splits are taken whole, records as they are.

    Raises:
        DatasetError: If the split does not exist, or none of `defaults` does.
    """
    if not isinstance(dataset, Dataset):
        if not isinstance(dataset, Sequence) or not all(isinstance(r, Record) for r in dataset):
            raise TypeError(
                "evaluate takes as data a data set, its path or records of one, got a "
                f"{type(dataset).__name__}"
            )
        return dataset
    splits = dataset.splits()
    if split is None:
        default = [name for name in defaults if name in splits]
        split = default[0] if default else "all" if set(splits) == {""} else None
    if split is None:
        names = ", ".join(f"{name or 'no split'} ({n})" for name, n in splits.items())
        raise DatasetError(
            f"{dataset.root} has no split named {' or '.join(defaults)}, it has {names}; choose "
            "one with --split (split)"
        )
    return dataset.records if split == "all" else dataset.split(split).records


def _evaluate_record(predictor: Predictor, record: Record) -> _ClipResult:
    """Evaluate one record; an error of one clip does not stop the others."""
    try:
        clip, annotation = record.load()
        if annotation is None:
            raise DatasetError(f"{record.name}: its annotation is missing")
    except EchosegError as error:
        problem = Issue(place=record.name, kind=IssueKind.BROKEN, reason=str(error))
        return _ClipResult(record.name, problem=problem)
    sha256 = _sha256(record, clip, annotation)
    try:
        predicted = predictor.predict(record, clip, annotation)
    except ModelError as error:  # of the predictor, not the data, whose hash stays the same
        problem = Issue(place=record.name, kind=IssueKind.INCONSISTENT, reason=str(error))
        return _ClipResult(record.name, sha256, problem=problem)
    items, row = evaluate_clip(record, clip, annotation, predicted)
    labels = frozenset(Label(int(value)) for value in np.unique(predicted.masks))
    return _ClipResult(record.name, sha256, items, row, labels=labels)


def _sha256(record: Record, clip: Clip, annotation: Annotation) -> str:
    """Hash of a record's files; of a clip without files, of its frames and masks."""
    if record.files:
        return hash_sources(record)
    return hashlib.sha256(clip.frames.tobytes() + annotation.masks.tobytes()).hexdigest()


def phantom_records(
    split: str, tiers: Sequence[str] = (), hearts: int | None = None
) -> tuple[Record, ...]:
    """Clips of phantom-v2, simulated when loaded.

    Args:
        split: `validation`, `test` or `held_out_style`.
        tiers: Tiers of difficulty; all when empty.
        hearts: Number of hearts per tier; all when None.

    Raises:
        ConfigError: If the split or tier does not exist.
    """
    from echoseg.data.phantom import name_of, simulated_pair
    from echoseg.phantom import Tier
    from echoseg.phantom.benchmark import FIRST_SEED, phantom_v2

    if unknown := [tier for tier in tiers if tier not in set(Tier)]:
        raise ConfigError(f"tier must be one of {', '.join(Tier)}, got {unknown[0]!r}")
    if hearts is not None and hearts < 1:
        raise ConfigError(f"hearts must be at least 1, got {hearts}")

    configs = [
        config
        for config in phantom_v2(split)
        if hearts is None or config.seed - FIRST_SEED[split] < hearts
        if not tiers or config.tier in tiers
    ]
    return tuple(
        Record(
            name=name_of(config),
            patient=f"heart{config.seed}",
            view=config.view,
            split=split,
            quality=str(config.tier),
            files=(),
            read=partial(simulated_pair, config),
        )
        for config in configs
    )
