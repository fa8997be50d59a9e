"""Judge a checkpoint over records, in one process or several: the tables do not depend on it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from echoseg.clip import Annotation, Clip
from echoseg.data import Issue, Record
from echoseg.data.hashing import sha256_of, source_files
from echoseg.data.records import IssueKind
from echoseg.errors import DatasetError, EchosegError, ModelError
from echoseg.evaluation.items import ClipRow, Item, in_fixed_order, judge
from echoseg.evaluation.segment import loaded, segment
from echoseg.parallel import parallel_map

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """A checkpoint judged over records.

    Attributes:
        model: Name or path it was loaded by.
        items: One a structure and frame, in a fixed order.
        clips: One a clip, by name.
        problems: What could not be judged, with the reason.
        data_sha256: Hash of the names and bytes of everything that was read.
    """

    model: str
    items: tuple[Item, ...]
    clips: tuple[ClipRow, ...]
    problems: tuple[Issue, ...]
    data_sha256: str


@dataclass(frozen=True, slots=True)
class _Judged:
    name: str
    sha256: str
    items: list[Item]
    row: ClipRow | None
    problem: Issue | None = None
    """Why this network could not do it."""


def evaluate(
    model: str,
    records: Sequence[Record],
    *,
    device: str = "cpu",
    jobs: int = 1,
    progress: Progress = lambda done, total: None,
) -> Evaluation:
    """Segment and score every record that has an annotation.

    Args:
        model: Name of a shipped checkpoint or path of one.
        records: In any order.
        device: `cpu`, `cuda` or `mps`; numbers may differ between them in the last digits.
        jobs: Processes; what comes out does not depend on it.
        progress: Told (clips done, clips in all).

    Raises:
        ModelError: If the checkpoint cannot be loaded.
        DatasetError: If no record has an annotation, or none can be judged.
    """
    loaded(model, device)
    labelled = sorted((r for r in records if r.labelled), key=lambda record: record.name)
    if not labelled:
        raise DatasetError(
            f"the data must hold masks to be judged by, none of its {len(records)} clips has one"
        )
    read: list[_Judged] = []
    problems: list[Issue] = []
    work = partial(_judge, model, device)
    for index, found in enumerate(parallel_map(work, labelled, jobs)):
        if isinstance(found, _Judged):
            read.append(found)
        problem = found.problem if isinstance(found, _Judged) else found
        if problem is not None:
            problems.append(problem)
        progress(index + 1, len(labelled))
    if not any(one.row for one in read):
        raise DatasetError(
            f"none of the {len(labelled)} clips can be judged, the first: {problems[0].reason}"
        )
    return Evaluation(
        model=model,
        items=tuple(in_fixed_order(item for one in read for item in one.items)),
        clips=tuple(one.row for one in read if one.row is not None),
        problems=tuple(problems),
        data_sha256=_data_sha256(read),
    )


def _judge(model: str, device: str, record: Record) -> _Judged | Issue:
    """Return what becomes of one record; an error of its own ends nobody else's."""
    try:
        clip, known = record.load()
        if known is None:
            raise DatasetError(f"{record.name}: its annotation is gone")
    except EchosegError as error:
        return Issue(place=record.name, kind=IssueKind.BROKEN, reason=str(error))
    sha256 = _sha256(record, clip, known)
    try:
        network, image_size = loaded(model, device)
        masks = segment(network, image_size, clip.frames, stills=record.stills)
    except ModelError as error:  # this network's, not the data's: they stay the same data
        problem = Issue(place=record.name, kind=IssueKind.INCONSISTENT, reason=str(error))
        return _Judged(record.name, sha256, [], None, problem)
    items, row = judge(record, clip, known, masks)
    return _Judged(record.name, sha256, items, row)


def _sha256(record: Record, clip: Clip, known: Annotation) -> str:
    """Return the hash of a record's files; of a clip without files, of its frames and masks."""
    import hashlib

    if record.files:
        return sha256_of(source_files(record))
    return hashlib.sha256(clip.frames.tobytes() + known.masks.tobytes()).hexdigest()


def _data_sha256(read: Sequence[_Judged]) -> str:
    import hashlib

    lines = "".join(f"{one.name} {one.sha256}\n" for one in read)
    return hashlib.sha256(lines.encode()).hexdigest()


def phantom_records(
    split: str, tiers: Sequence[str] = (), hearts: int | None = None
) -> tuple[Record, ...]:
    """Return clips of phantom-v1, filmed when loaded: the first `hearts` of each tier.

    Raises:
        ConfigError: If there is no such split or tier.
    """
    from echoseg.data.phantom import name_of
    from echoseg.errors import ConfigError
    from echoseg.phantom import PhantomConfig, Tier
    from echoseg.phantom.benchmark import FIRST_SEED, phantom_v1

    if unknown := [tier for tier in tiers if tier not in set(Tier)]:
        raise ConfigError(f"tier must be one of {', '.join(Tier)}, got {unknown[0]!r}")
    if hearts is not None and hearts < 1:
        raise ConfigError(f"hearts must be at least 1, got {hearts}")

    def wanted() -> Iterator[PhantomConfig]:
        for config in phantom_v1(split):
            few = hearts is None or config.seed - FIRST_SEED[split] < hearts
            if few and (not tiers or config.tier in tiers):
                yield config

    return tuple(
        Record(
            name=name_of(config),
            patient=f"heart{config.seed}",
            view=config.view,
            split=split,
            quality=str(config.tier),
            files=(),
            read=partial(_filmed, config),
        )
        for config in wanted()
    )


def _filmed(config: object) -> tuple[Clip, Annotation]:
    from echoseg.data.phantom import simulate
    from echoseg.phantom import PhantomConfig

    assert isinstance(config, PhantomConfig)
    one = simulate(config)
    return one.clip, one.annotation
