"""The loop: one for every way of learning, every data set and every number of processes.

A step draws a batch, asks the method for its terms, follows the gradient of their sum, and lets
the teacher follow the student. The loop knows nothing of what the terms mean. Draws depend on seed
and step alone, and all that a step changes is in `Run.state_dict`, so a run that was cut and
resumed ends in the same weights to the last digit (on the same machine, with as many processes and
threads).

Several processes (started by `torchrun`) draw the same batch and take every n-th clip of it each.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from echoseg.errors import ConfigError
from echoseg.models import build_model
from echoseg.models.checkpoint import load_encoder, load_model
from echoseg.train.config import TrainConfig
from echoseg.train.data.batches import Batch, Batches
from echoseg.train.data.pool import Pool
from echoseg.train.ema import Teacher
from echoseg.train.methods.base import Terms, TrainingMethod, ramp_up
from echoseg.train.run_folder import RunFolder
from echoseg.weights.card import find_checkpoint

WARM_STEPS = 50
REPORT_EVERY = 50
MOST_GRADIENT = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """How a run goes."""

    step: int
    num_steps: int
    values: dict[str, float]
    """Terms of the loss, means since the last report; validation scores."""
    left_s: float
    """Time left, were all steps to take as long as those of this session."""


class Step(nn.Module):
    """Student and method as one module, so that gradients of both are brought together."""

    def __init__(self, student: Any, method: TrainingMethod) -> None:
        super().__init__()
        self.student, self.method = student, method

    def forward(self, teacher: Teacher, batch: Batch, ramp: float) -> Terms:
        """Return the method's terms."""
        return self.method(self.student, teacher, batch, ramp)


class Run:
    """All that a run changes, and the step that changes it.

    Args:
        config: What to do.
        pool: What to learn from.
        fabric: Devices and processes; started.

    Raises:
        ConfigError: If pool, network and method do not go together.
        ModelError: If the checkpoint to start from cannot be read.
    """

    def __init__(self, config: TrainConfig, pool: Pool, fabric: Fabric) -> None:
        self.config, self.fabric = config, fabric
        torch.manual_seed(config.seed)
        student = make_student(config)
        _check_fit(student, config, pool)
        method = config.make_method()
        method.prepare(student, pool)
        if fabric.world_size > 1:
            method.share_with(lambda x: _together(fabric, x))
        self.teacher = Teacher(student, config.ema_decay).to(fabric.device)
        self.module = Step(student, method)
        self.optimizer = torch.optim.AdamW(
            self.module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self._step, self._optimizer = fabric.setup(self.module, self.optimizer)
        shared = method.share_out(pool, config.batch, fabric.world_size)
        self.batches = Batches(pool, shared, config.seed)
        self.step = 0
        self.best_score, self.best_step = -math.inf, 0

    def take_step(self) -> dict[str, float]:
        """Take one step; return its terms.

        Raises:
            ConfigError: If the loss is no longer a number.
        """
        config = self.config
        batch = _own_part(self.batches.next(), self.fabric).to(self.fabric.device)
        # draws of this step are its own: nothing of the generator's past is needed to go on
        torch.manual_seed(config.seed * 1_000_003 + self.step * 1_009 + self.fabric.global_rank)
        done = self.step / config.num_steps
        self.optimizer.param_groups[0]["lr"] = (
            config.learning_rate
            * min(1.0, (self.step + 1) / WARM_STEPS)
            * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        )
        self.module.train()
        try:
            terms = self._step(self.teacher, batch, ramp_up(done, config.rampup_fraction))
        # RAC, of masks that are no numbers
        except torch.linalg.LinAlgError as error:  # type: ignore[reportPrivateImportUsage]
            raise self._no_number("none") from error
        loss = sum((v for k, v in terms.items() if not k.startswith("told_")), torch.zeros(()))
        if not torch.isfinite(loss):
            raise self._no_number(str(loss.item()))
        self._optimizer.zero_grad()
        self.fabric.backward(loss)
        self.fabric.clip_gradients(self._step, self._optimizer, max_norm=MOST_GRADIENT)
        self._optimizer.step()
        self.teacher.follow(self.module.student)
        self.step += 1
        told = {"loss": loss, **terms}
        return {name: float(value.detach()) for name, value in told.items()}

    def _no_number(self, found: str) -> ConfigError:
        """Return the refusal to go on; what was saved of the run may be as broken."""
        config = self.config
        return ConfigError(
            f"the loss must be a number, it was {found} at step {self.step}; begin anew in another "
            f"folder (-o) with a learning_rate under {config.learning_rate:g}"
            f"{'' if config.precision == '32-true' else ' or precision=32-true'}"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all that resuming needs."""
        return {
            "step": self.step,
            "best_score": self.best_score,
            "best_step": self.best_step,
            "module": self.module.state_dict(),
            "teacher": self.teacher.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "batches": self.batches.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another was.

        Raises:
            ConfigError: If it is of another shape.
        """
        try:
            self.module.load_state_dict(state["module"])
            self.teacher.load_state_dict(state["teacher"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.batches.load_state_dict(state["batches"])
            self.step = state["step"]
            self.best_score, self.best_step = state["best_score"], state["best_step"]
        except (KeyError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ConfigError(
                f"the checkpoint must be of the run's own shape, it is not ({reason}); resume with "
                "the config it was begun with"
            ) from error


def make_student(config: TrainConfig) -> Any:
    """Return the network a run begins with.

    Raises:
        ConfigError: If the architecture has no such field.
        ModelError: If the checkpoint to start from cannot be read.
    """
    student: Any
    if config.init_from:
        student, _ = load_model(str(find_checkpoint(config.init_from, field="init_from")))
        student.is_pretrained = True
    else:
        student = build_model(config.model, config.architecture)
    if config.pretrained_encoder:
        load_encoder(student, config.pretrained_encoder)
    return student.to(memory_format=torch.channels_last)


def _check_fit(student: Any, config: TrainConfig, pool: Pool) -> None:
    """Refuse a network that cannot take the pool's clips.

    Raises:
        ConfigError: If labels, size or number of frames are not those it takes.
    """
    name, num_labels = type(student).__name__, pool.known_labels.shape[1]
    if student.num_labels != num_labels:
        raise ConfigError(
            f"{name} must tell {num_labels} labels apart, as the masks do, it has "
            f"{student.num_labels}; leave num_labels out of architecture, or start from others"
        )
    if student.image_size not in (None, config.image_size):
        raise ConfigError(
            f"image_size must be {student.image_size} for {name}, got {config.image_size}"
        )
    if not student.streams and student.num_frames != config.num_frames:
        raise ConfigError(
            f"num_frames must be {student.num_frames} for {name}, got {config.num_frames}"
        )


def learn(
    run: Run,
    folder: RunFolder,
    *,
    validate: Callable[[Any], dict[str, float]] | None = None,
    report: Callable[[Report], None] = lambda report: None,
    save_model: Callable[[str, Any], None] = lambda name, model: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Take all steps that are left, or stop early.

    Args:
        run: New or resumed.
        folder: Where its state goes.
        validate: Network -> scores; `score` says which is better.
        report: Called now and then in the first process.
        save_model: Called with a file name and a network that is worth keeping.
        is_stopped: Asked after each step; if so, what resuming needs is saved first.

    Raises:
        KeyboardInterrupt: If `is_stopped`.
        OutputError: If the folder cannot be written to; what was saved before is whole.
    """
    config, is_first = run.config, run.fabric.is_global_zero
    sums: dict[str, list[float]] = {}
    start, first_step = time.monotonic(), run.step
    while run.step < config.num_steps:
        for name, value in run.take_step().items():
            sums.setdefault(name, []).append(value)
        at_end = run.step == config.num_steps
        looks = at_end or run.step % config.validate_every == 0
        scores = {}
        if looks and validate is not None and is_first:
            scores = _look(run, validate, save_model)
        if is_first and (looks or run.step % REPORT_EVERY == 0):
            values = {name: _mean(found) for name, found in sums.items()} | scores
            sums = {}
            took = (time.monotonic() - start) / (run.step - first_step)
            left_s = took * (config.num_steps - run.step)
            folder.report({"step": run.step, **{k: round(v, 5) for k, v in values.items()}})
            report(Report(step=run.step, num_steps=config.num_steps, values=values, left_s=left_s))
        stops = is_stopped() and not at_end
        if is_first and (stops or at_end or run.step % config.save_every == 0):
            folder.save(run.state_dict(), run.step, config.keep_last)
        if stops:
            raise KeyboardInterrupt
        if looks and _everyone(run.fabric, _is_spent(run)):
            break
    if is_first:
        save_model("model.safetensors", run.teacher.segmenter)
    run.fabric.barrier()


def _look(
    run: Run, validate: Callable[[Any], dict[str, float]], save_model: Callable[[str, Any], None]
) -> dict[str, float]:
    """Score the teacher; keep it when it is the best so far."""
    scores = validate(run.teacher.segmenter)
    if scores["score"] > run.best_score:
        run.best_score, run.best_step = scores["score"], run.step
        save_model("best.safetensors", run.teacher.segmenter)
    return {f"validation_{name}": value for name, value in scores.items()}


def _is_spent(run: Run) -> bool:
    """Return whether too many looks have brought nothing better."""
    patience = run.config.patience
    waited = (run.step - run.best_step) // run.config.validate_every
    return patience is not None and run.best_step > 0 and waited >= patience


def _mean(found: list[float]) -> float:
    known = [value for value in found if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _everyone(fabric: Fabric, stops: bool) -> bool:
    """Return what the first process thinks."""
    return bool(fabric.broadcast(stops)) if fabric.world_size > 1 else stops


def _together(fabric: Fabric, x: Tensor) -> Tensor:
    """Return what all processes have, in the order of the whole batch: one from each in turn."""
    everyones: Any = fabric.all_gather(x)
    return everyones.transpose(0, 1).flatten(0, 1)


def _own_part(batch: Batch, fabric: Fabric) -> Batch:
    """Return every n-th labelled and every n-th unlabelled clip."""
    rank, world = fabric.global_rank, fabric.world_size
    if world == 1:
        return batch
    counts = batch.num_labeled, len(batch.clips) - batch.num_labeled
    if any(count % world for count in counts):
        raise ConfigError(
            f"num_labeled and num_unlabeled must be multiples of the {world} processes, got "
            f"{counts[0]} and {counts[1]}"
        )
    index = torch.cat(
        [torch.arange(rank, counts[0], world), torch.arange(rank, counts[1], world) + counts[0]]
    )
    parts = Batch._make(x[index] if isinstance(x, Tensor) else x for x in batch)
    return parts._replace(num_labeled=counts[0] // world)
