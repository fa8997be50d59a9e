"""From a config to weights: open the data, run the loop, keep what is worth keeping."""

import logging
import os
import platform
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from echoseg.errors import ConfigError, ModelError
from echoseg.files import locked_dir
from echoseg.losses import IGNORE_LABEL
from echoseg.models.checkpoint import save_checkpoint
from echoseg.models.windows import each_still
from echoseg.train.config import TrainConfig
from echoseg.train.data.pool import Pool
from echoseg.train.data.sources import Source, join, open_source, open_validation
from echoseg.train.logging import Board, write_samples
from echoseg.train.loop import Report, Run, learn
from echoseg.train.run_folder import RunFolder
from echoseg.weights.card import ModelCard, find_checkpoint, read_card

STRUCTURES = {"lv_endo": (1,), "lv_epi": (1, 2), "la": (3,)}


def run_training(
    config: TrainConfig | None,
    out: Path,
    *,
    report: Callable[[Report], None] = lambda report: None,
    log: Callable[[str], None] = lambda text: None,
) -> Path:
    """Do a run and return the weights that scored best, or the last where nothing was scored.

    Args:
        config: What to do; None goes on with the run that `out` holds.
        out: The run's folder; see `run_folder`.
        report: Called now and then.
        log: Called with a sentence when something begins.

    Raises:
        EchosegError: If config, data, folder or checkpoint are wrong; before hours are lost.
    """
    folder = RunFolder(out)
    is_resumed = config is None
    config = folder.config() if config is None else config
    fabric = _fabric(config)
    fabric.launch()
    if not fabric.is_global_zero:  # one of them talks and writes
        state = folder.load() if is_resumed else None
        return _train(config, state, folder, fabric, lambda report: None, lambda text: None)
    with locked_dir(out):
        state = folder.load() if is_resumed else None
        return _train(config, state, folder, fabric, report, log)


def _train(
    config: TrainConfig,
    state: dict[str, Any] | None,
    folder: RunFolder,
    fabric: Any,
    report: Callable[[Report], None],
    log: Callable[[str], None],
) -> Path:
    out = folder.path
    log("opening the data")
    sources = [open_source(name, config.image_size) for name in config.data]
    extra = [open_source(name, config.image_size, field="extra_data") for name in config.extra_data]
    pool = gathered([source.pool for source in sources], [more.pool for more in extra], config)
    for name, source in zip((*config.data, *config.extra_data), (*sources, *extra), strict=True):
        if source.num_left_out:
            log(
                f"{name}: {source.num_left_out} clips cannot be used and are left out; "
                "echoseg data check says why"
            )
    validation = open_validation(config.data, config.validation, config.image_size)
    run = Run(config, pool, fabric)
    if state is not None:
        run.load_state_dict(state)
    elif fabric.is_global_zero:
        num_bytes = sum(t.numel() * t.element_size() for t in run.module.state_dict().values())
        folder.begin(config, needed_bytes=8 * num_bytes)
    log(
        f"{len(pool)} clips, {int(pool.is_labeled.sum())} with masks; "
        f"{config.num_steps - run.step} steps"
    )
    card = _card(config, [*sources, *extra])

    board = Board(out)

    def save_model(name: str, model: Any) -> None:
        folder.write_model(name, lambda path: save_checkpoint(path, model, card))

    def validate(model: Any) -> dict[str, float]:
        write_samples(out / "samples.png", model, validation or pool)
        return pool_scores(model, validation or pool)

    def tell(told: Report) -> None:
        board.report(told)
        report(told)

    with interrupt_asked() as is_asked:
        learn(
            run,
            folder,
            validate=None if validation is None else validate,
            report=tell,
            save_model=save_model,
            is_stopped=is_asked,
        )
    best = out / "best.safetensors"
    return best if best.exists() else out / "model.safetensors"


def seconds_a_step(config: TrainConfig, num_steps: int = 3) -> float:
    """Return the CPU seconds of a step, the median after one to warm up; nothing is kept.

    Where the first takes over 20 s it is the answer.

    Raises:
        EchosegError: As `run_training`.
    """
    sources = [open_source(name, config.image_size) for name in config.data]
    fabric = _fabric(config)
    fabric.launch()
    run = Run(config, gathered([source.pool for source in sources], [], config), fabric)
    times = []
    for _ in range(num_steps + 1):
        start = time.process_time()
        run.take_step()
        times.append(time.process_time() - start)
        if times[0] > 20:
            return times[0]
    return statistics.median(times[1:])


@contextmanager
def interrupt_asked() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C wait for the end of a step; a second one does not wait."""
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        asked.append(number)
        signal.signal(number, signal.default_int_handler)

    before = signal.getsignal(signal.SIGINT)
    # a process that ignores it, or a thread, has nothing to wait for
    answers = before is signal.default_int_handler
    if answers and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: bool(asked)
    finally:
        if answers and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def _fabric(config: TrainConfig) -> Any:
    """Return devices and processes: one, or as many as `torchrun` started.

    Raises:
        ConfigError: If the accelerator is not there.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # tells of every precision
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    num_processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    try:
        return Fabric(
            accelerator=config.accelerator,
            devices=num_processes,
            # buffers are the same in all by design, or belong to a process (batch norm)
            strategy=DDPStrategy(broadcast_buffers=False) if num_processes > 1 else "auto",
            precision=config.precision,
        )
    except RuntimeError as error:
        raise ConfigError(
            f"accelerator must be one that this machine has, {config.accelerator} is not; give auto"
        ) from error


def gathered(pools: list[Pool], extra: list[Pool], config: TrainConfig) -> Pool:
    """Return one pool, with only those masks that the config lets be seen.

    Raises:
        ConfigError: If the share of labels leaves no patient, or shares do not fit the data.
    """
    time = config.num_frames
    pool = join([labelled(each, config) for each in pools], config.data_weights, num_frames=time)
    if not extra:
        return pool
    shares = 1 - config.extra_data_fraction, config.extra_data_fraction
    return join([pool, join(extra, num_frames=time)], shares, num_frames=time)


def labelled(pool: Pool, config: TrainConfig) -> Pool:
    """Return the pool with only those masks that the config lets be seen."""
    if config.labeled_fraction < 1:
        pool = pool.labelled_share(config.labeled_fraction, config.split_seed)
    return pool.labelled_ends() if config.labeled_frames == "ed_es" else pool


@torch.inference_mode()
def pool_scores(model: Any, pool: Pool, num_clips: int = 10) -> dict[str, float]:
    """Return mean Dice a structure on the pool's own grid, and `score`, the mean of those.

    Quick enough to look at while a run goes; final numbers are told on the pictures' own grid by
    `learn.evaluate`.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    found: dict[str, list[float]] = {}
    for start in range(0, len(pool), num_clips):
        frames = pool.frames[start : start + num_clips].to(device)
        # frames alone: those of a pool need not be neighbours
        masks = each_still(model, frames.flatten(0, 1)[:, None].float() / 255).argmax(1)
        masks = masks.cpu().numpy()
        truths = pool.truth[start : start + num_clips].flatten(0, 1).numpy()
        known = pool.known_labels[start : start + num_clips].numpy()
        known = np.repeat(known, pool.frames.shape[1], 0)
        for mask, truth, told in zip(masks, truths, known, strict=True):
            for name, labels in STRUCTURES.items():
                if told[list(labels)].all() and (truth != IGNORE_LABEL).all():
                    one, other = np.isin(mask, labels), np.isin(truth, labels)
                    if (size := one.sum() + other.sum()) > 0:
                        found.setdefault(name, []).append(2 * (one & other).sum() / size)
    model.train(was_training)
    if not found:
        raise ConfigError("validation must have masks, it has none; give another source")
    scores = {name: float(np.mean(values)) for name, values in found.items()}
    return {**scores, "score": float(np.mean(list(scores.values())))}


def _card(config: TrainConfig, sources: list[Source]) -> ModelCard:
    begun = [_begun_from(place) for place in (config.init_from, config.pretrained_encoder) if place]
    told = [card.trained_on for card in begun] + [source.words for source in sources]
    words = [each for words in told for each in words.split("; ")]
    architecture = begun[0].architecture if config.init_from else config.model
    # what is under terms of its own puts all that was learnt from it under them
    bound = [each for each in [*begun, *sources] if each.licence != "Apache-2.0"]
    licence = " AND ".join(dict.fromkeys(each.licence for each in bound)) or "Apache-2.0"
    notice = " ".join(dict.fromkeys(each.notice for each in bound if each.notice))
    return ModelCard(
        architecture=architecture,
        image_size=config.image_size,
        licence=licence,
        notice=notice,
        trained_on="; ".join(dict.fromkeys(words)),
        provenance=f"{config.model_dump_json(exclude_defaults=True)}; torch {torch.__version__}, "
        f"{platform.machine()}",
    )


def _begun_from(place: str) -> ModelCard:
    """Return the card of weights that a run begins with; theirs is its licence too."""
    path = find_checkpoint(place)
    try:
        return read_card(path)
    except ModelError:  # an encoder of elsewhere
        return ModelCard(
            architecture="encoder",
            image_size=0,
            licence=f"that of {path.name}",
            trained_on=f"begun with the encoder of {path.name}",
        )
