"""The training loop: one for every method, every data set and every number of processes.

A step takes a batch, asks the method for its terms, follows the gradient of their sum and updates
the moving average. Draws depend on seed and step alone, and all that a step changes is in
`Run.state_dict`, so a run that was cut and resumed ends in the same weights to the last digit (on
the same machine, with the same number of processes and threads).

Several processes (started by `torchrun`) make the same batch and take every n-th clip of it each.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from echoseg.errors import ConfigError
from echoseg.models import build_model
from echoseg.models.checkpoint import load_encoder, load_model
from echoseg.models.segmenter import Segmenter
from echoseg.plugins import resolve
from echoseg.train.config import TrainConfig
from echoseg.train.data.batches import Batch, Batches, batches_from
from echoseg.train.data.training_set import NUM_LABELS, STATISTICS, TrainingSet
from echoseg.train.ema import EMA
from echoseg.train.methods.base import Loss, LossWeights, Terms, TrainingMethod, ramp_up
from echoseg.train.run_folder import RunFolder
from echoseg.weights.card import find_checkpoint

WARMUP_STEPS = 50
REPORT_EVERY = 50
MAX_GRADIENT_NORM = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """The progress of a run."""

    step: int
    num_steps: int
    values: dict[str, float]
    """Loss terms and metrics, means since the last report; validation scores."""
    left_s: float
    """Estimated time left, seconds."""

    def __str__(self) -> str:
        values = "  ".join(
            f"{name.removeprefix('metrics/')} {value:.4f}"
            for name, value in self.values.items()
            if not (name.startswith("data/") or math.isnan(value))  # nan: nothing to compare with
        )
        minutes, seconds = divmod(round(self.left_s), 60)
        return f"{self.step}/{self.num_steps}  {values}  {minutes}:{seconds:02d} left"


class Step(nn.Module):
    """Student and method as one module, so that gradients of both are synchronised."""

    def __init__(self, student: Any, method: TrainingMethod) -> None:
        super().__init__()
        self.student, self.method = student, method

    def forward(self, teacher: EMA, batch: Batch, ramp: float) -> Terms:
        """The method's terms."""
        return self.method(self.student, teacher, batch, ramp)


@dataclass(frozen=True, kw_only=True, slots=True)
class Components:
    """Objects that are used instead of what the config names."""

    model: Segmenter | None = None
    method: TrainingMethod | None = None
    loss: Loss | None = None
    data: tuple[Any, ...] = ()
    validation: Any = None


class Run:
    """The state of a run, and the step that changes it.

    Args:
        config: The settings.
        training_set: The data.
        fabric: Devices and processes; launched.
        components: Objects instead of names.

    Raises:
        ConfigError: If data, network and method do not fit together.
        ModelError: If the initial checkpoint cannot be read.
    """

    def __init__(
        self,
        config: TrainConfig,
        training_set: TrainingSet,
        fabric: Fabric,
        components: Components | None = None,
    ) -> None:
        components = components or Components()
        self.config, self.fabric = config, fabric
        torch.manual_seed(config.seed)
        student = components.model or make_student(config)
        _check_fit(student, config)
        student.bptt_frames = config.bptt_frames
        method = components.method or config.make_method()
        method.weights = LossWeights.of(config)
        if components.loss is not None:
            method.loss = components.loss
        elif config.loss is not None:
            method.loss = resolve(config.loss, {}, "loss")
        method.prepare(student, training_set)
        self.teacher = EMA(student, config.ema_decay).to(fabric.device)
        self.module = Step(student, method)
        self.optimizer = torch.optim.AdamW(
            self.module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self._step, self._optimizer = fabric.setup(self.module, self.optimizer)
        num_unlabeled = config.num_unlabeled if method.uses_unlabeled else 0
        fixed = {"still_frames": config.num_frames} if student.num_frames else {}
        self.batches = Batches(
            training_set,
            config.model_copy(update=fixed),
            config.num_labeled,
            num_unlabeled,
            with_sources=method.uses_sources,
        )
        self._iterator: Iterator[Batch] | None = None
        self.step = 0
        self.best_score, self.best_step = -math.inf, 0

    def take_step(self) -> dict[str, float]:
        """Take one step and return its loss terms, its metrics and statistics of its data.

        Raises:
            ConfigError: If the loss is no longer a number.
        """
        config = self.config
        if self._iterator is None:
            self._iterator = batches_from(self.batches, self.step, self.fabric.device)
        batch = next(self._iterator)
        statistics = dict(zip(STATISTICS, batch.statistics.tolist(), strict=True))
        batch = _own_part(batch, self.fabric)
        # seeded per step: resuming needs no state of the generator
        torch.manual_seed(config.seed * 1_000_003 + self.step * 1_009 + self.fabric.global_rank)
        done = self.step / config.num_steps
        self.optimizer.param_groups[0]["lr"] = (
            config.learning_rate
            * min(1.0, (self.step + 1) / WARMUP_STEPS)
            * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        )
        self.module.train()
        terms = self._step(self.teacher, batch, ramp_up(done, config.rampup_fraction))
        loss = sum((v for k, v in terms.items() if not k.startswith("metrics/")), torch.zeros(()))
        if not torch.isfinite(loss):
            raise self._no_number(str(loss.item()))
        self._optimizer.zero_grad()
        self.fabric.backward(loss)
        self.fabric.clip_gradients(self._step, self._optimizer, max_norm=MAX_GRADIENT_NORM)
        self._optimizer.step()
        self.teacher.update(self.module.student)
        self.step += 1
        values = {name: float(value.detach()) for name, value in {"loss": loss, **terms}.items()}
        return values | {f"data/{name}": value for name, value in statistics.items()}

    def _no_number(self, value: str) -> ConfigError:
        """The refusal to continue; saved states of the run may be as broken."""
        config = self.config
        own = "mend a loss of your own, or " if ":" in f"{config.loss}{config.method}" else ""
        return ConfigError(
            f"the loss is not a number ({value}) at step {self.step}; {own}start again in another "
            f"folder (-o) with a learning_rate under {config.learning_rate:g}"
            f"{'' if config.precision == '32-true' else ' or precision=32-true'}"
        )

    def state_dict(self) -> dict[str, Any]:
        """All that resuming needs."""
        return {
            "step": self.step,
            "best_score": self.best_score,
            "best_step": self.best_step,
            "module": self.module.state_dict(),
            "teacher": self.teacher.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state.

        Raises:
            ConfigError: If it is of another shape.
        """
        try:
            self.module.load_state_dict(state["module"])
            self.teacher.load_state_dict(state["teacher"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self._iterator = state["step"], None
            self.best_score, self.best_step = state["best_score"], state["best_step"]
        except (KeyError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ConfigError(
                f"the checkpoint does not fit the run's network or method ({reason}); resume with "
                "the settings and the version it was started with"
            ) from error


def make_student(config: TrainConfig) -> Any:
    """Build the initial network of a run.

    Raises:
        ConfigError: If model or architecture is wrong.
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


def _check_fit(student: Any, config: TrainConfig) -> None:
    """Refuse a network that cannot take the clips of the config.

    Raises:
        ConfigError: If labels, size or number of frames are not those it takes.
    """
    name = type(student).__name__
    if student.num_labels != NUM_LABELS:
        raise ConfigError(
            f"{name} must have {NUM_LABELS} labels, as the masks do, it has {student.num_labels}; "
            "leave num_labels out of architecture, or choose other initial weights"
        )
    if student.image_size not in (None, config.image_size):
        raise ConfigError(
            f"image_size must be {student.image_size} for {name}, got {config.image_size}"
        )
    if not student.streams and student.num_frames != config.num_frames:
        raise ConfigError(
            f"num_frames must be {student.num_frames} for {name}, got {config.num_frames}"
        )


def fit(
    run: Run,
    folder: RunFolder,
    *,
    validate: Callable[[Any], dict[str, float]] | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    save_model: Callable[[str, Any], None] = lambda name, model: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Take all steps that are left, or stop early.

    Args:
        run: New or resumed.
        folder: Where its state is saved.
        validate: Network -> scores; `score` says which is better.
        report: Called every few steps in the first process.
        save_model: Called with a file name and a network that is to be kept.
        is_stopped: Called after each step; if true, the state is saved and the run ends.

    Raises:
        KeyboardInterrupt: If `is_stopped`.
        OutputError: If the folder cannot be written to; what was saved before is whole.
    """
    config, is_first = run.config, run.fabric.is_global_zero
    sums: dict[str, list[float]] = {}
    start, first_step = time.monotonic(), run.step
    # a resumed run may have stopped early
    spent = run.step % config.validate_every == 0 and _is_spent(run)
    while run.step < config.num_steps and not spent:
        for name, value in run.take_step().items():
            sums.setdefault(name, []).append(value)
        at_end = run.step == config.num_steps
        validates = at_end or run.step % config.validate_every == 0
        scores = {}
        if validates and validate is not None and is_first:
            scores = _validation_round(run, validate, save_model)
        if is_first and (validates or run.step % REPORT_EVERY == 0):
            values = {
                name: float(torch.tensor(numbers, dtype=torch.float64).nanmean())
                for name, numbers in sums.items()
            } | scores
            sums = {}
            took = (time.monotonic() - start) / (run.step - first_step)
            left_s = took * (config.num_steps - run.step)
            rounded = {k: None if math.isnan(v) else round(v, 5) for k, v in values.items()}
            folder.report({"step": run.step, **rounded})
            report(
                Progress(step=run.step, num_steps=config.num_steps, values=values, left_s=left_s)
            )
        stops = is_stopped() and not at_end
        if is_first and (stops or at_end or run.step % config.save_every == 0):
            folder.save(run.state_dict(), run.step, config.keep_last)
        if stops:
            raise KeyboardInterrupt
        spent = validates and run.fabric.broadcast(_is_spent(run))
    if is_first:
        save_model("model.safetensors", run.teacher.model)
    run.fabric.barrier()


def _validation_round(
    run: Run, validate: Callable[[Any], dict[str, float]], save_model: Callable[[str, Any], None]
) -> dict[str, float]:
    """Score the teacher; keep it when it is the best so far."""
    scores = validate(run.teacher.model)
    if scores["score"] > run.best_score:
        run.best_score, run.best_step = scores["score"], run.step
        save_model("best.safetensors", run.teacher.model)
    return {f"validation_{name}": value for name, value in scores.items()}


def _is_spent(run: Run) -> bool:
    """Whether `patience` validation rounds have brought no better score."""
    patience = run.config.patience
    waited = (run.step - run.best_step) // run.config.validate_every
    return patience is not None and run.best_step > 0 and waited >= patience


def _own_part(batch: Batch, fabric: Fabric) -> Batch:
    """Every n-th labeled and every n-th unlabeled clip."""
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
        [torch.arange(counts[0])[rank::world], torch.arange(counts[1])[rank::world] + counts[0]]
    )
    parts = Batch._make(x[index] if isinstance(x, Tensor) and x.ndim > 1 else x for x in batch)
    sources = batch.sources and _own_part(batch.sources, fabric)
    return parts._replace(num_labeled=counts[0] // world, clips=batch.clips[index], sources=sources)
