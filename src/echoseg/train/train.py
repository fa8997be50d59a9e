"""From settings or objects to weights: open the data, run the loop, keep the best weights."""

import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from echoseg.data.torch_dataset import ClipCache, TorchDataset
from echoseg.errors import ConfigError, EchosegError, ModelError
from echoseg.files import locked_dir
from echoseg.models.adapt import Adapted, as_segmenter
from echoseg.models.build import MODELS, architecture_of, build_model
from echoseg.models.checkpoint import load_model, save_checkpoint
from echoseg.models.segmenter import Segmenter
from echoseg.nn.fused import has_bf16
from echoseg.train.card import make_card
from echoseg.train.config import TrainConfig, train_config
from echoseg.train.data.sources import Reader, Source
from echoseg.train.data.training_set import TrainingSet, joined
from echoseg.train.logging import TensorBoardLogger, write_samples
from echoseg.train.loop import Components, Progress, Run, fit
from echoseg.train.methods import METHODS, TrainingMethod
from echoseg.train.recipes import with_recipe
from echoseg.train.run_folder import RunFolder, discarded_when_it_fails
from echoseg.train.stopping import interrupt_requested
from echoseg.train.validation import validation_scores
from echoseg.weights.card import SHIPPED, ModelCard


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingResult:
    """The outcome of `echoseg.train`.

    Attributes:
        model: The network with the best validation score, or the last one without validation data,
            in evaluation mode.
        card: Its card.
        checkpoint: Its file, which `echoseg.load_model` and `echoseg analyze --model` take.
        folder: The run's folder.
        history: One dict per report: step, loss terms, metrics and validation scores.
    """

    model: Any
    card: ModelCard
    checkpoint: Path
    folder: Path
    history: tuple[dict[str, float], ...]

    def __repr__(self) -> str:
        last = self.history[-1] if self.history else {}
        score = last.get("validation_score")
        scored = "" if score is None else f", validation score {score:.4f}"
        return f"TrainingResult({str(self.checkpoint)!r}, step {last.get('step', 0):g}{scored})"


def train(  # noqa: PLR0913  # what to train, how, and where it goes
    model: Any,
    data: Any,
    method: Any = "mssnet",
    loss: Any = None,
    *,
    output: str | Path | None = None,
    resume: bool = False,
    progress: Callable[[Any], None] | None = print,
    **settings: Any,
) -> TrainingResult:
    """Train a segmentation model, optionally semi-supervised with few labels.

    Examples:
        >>> net = echoseg.models.MSSNet(size="tiny")
        >>> data = echoseg.load_dataset("CAMUS/")
        >>> result = echoseg.train(net, data, method="mssnet", loss=my_loss, num_steps=2000)

    Args:
        model: A `torch.nn.Module` (trained in place; see `models.adapt` for what it must be), a
            name of `models.MODELS`, a shipped name or checkpoint file to start from, or
            "package.module:Class".
        data: A `Dataset`, a path, phantom:N, a map-style data set of the items of
            `Dataset.to_torch`, or a list of these.
        method: A name of `train.recipes.RECIPES`, a `TrainingMethod` class or object, or
            "package.module:Class".
        loss: Supervised loss of (logits `N K H W`, masks `N H W` int64, 255 where unknown) as a
            function or "package.module:function"; by default cross entropy and Dice.
        output: Folder of the run; by default a temporary one.
        resume: Continue the run in `output`, which was begun with the same objects and settings.
        progress: Called with a sentence when something begins, then with a `Progress`, whose text
            is a line, at each report; None: nothing is printed.
        settings: Fields of `TrainConfig`; `validation` may be a data set too.

    Raises:
        EchosegError: If a setting, the data or the model is wrong.
        TypeError: If an argument has a wrong Python type.
    """
    if resume and output is None:
        raise ConfigError("output must be given with resume=True, the folder of the run")
    fields, components = _as_config(model, data, method, loss, settings)
    config = train_config(**fields)
    folder = Path(tempfile.mkdtemp(prefix="echoseg-run-") if output is None else output)
    history: list[dict[str, float]] = []
    log: Callable[[Any], None] = progress or nothing

    def report(done: Progress) -> None:
        history.append({"step": done.step, **done.values})
        log(done)

    with discarded_when_it_fails(folder):
        if resume:
            RunFolder(folder).check(config)
        checkpoint = run_training(
            None if resume else config, folder, report=report, log=log, components=components
        )
    best, card = load_model(str(checkpoint))
    return TrainingResult(
        model=best, card=card, checkpoint=checkpoint, folder=folder, history=tuple(history)
    )


def _as_config(
    model: Any, data: Any, method: Any, loss: Any, settings: dict[str, Any]
) -> tuple[dict[str, Any], Components]:
    """Settings by name, and the objects that are used instead of some names."""
    fields = dict(settings)
    parts = tuple(data) if isinstance(data, list | tuple) else (data,)
    if not parts:
        raise ConfigError("data must hold at least one data set, the list is empty")
    validation = fields.pop("validation", None)
    components = Components(
        model=_model_object(model, fields),
        method=_method_object(method, fields),
        loss=_loss_object(loss, fields),
        data=parts,
        validation=validation,
    )
    for part in parts:
        if isinstance(part, TorchDataset):
            fields.setdefault("image_size", part.size)
    fields["data"] = tuple(_describe(part) for part in parts)
    if validation is not None:
        fields["validation"] = _describe(validation)
    are_objects = {
        "model": components.model is not None and not fields.get("architecture"),
        "method": components.method is not None,
        "loss": components.loss is not None,
        "data": not all(isinstance(part, str | Path) for part in parts),
        "validation": not isinstance(validation, str | Path | None),
    }
    fields["objects"] = tuple(name for name, is_object in are_objects.items() if is_object)
    return fields, components


def _model_object(model: Any, fields: dict[str, Any]) -> Segmenter | None:
    """The network that is given; the field that names it is set."""
    if isinstance(model, nn.Module):
        for name in ("init_from", "pretrained_encoder", "architecture"):
            if value := fields.get(name):
                raise ConfigError(
                    f"{name} must be left out where model is a network, which has its layers and "
                    f"weights, got {value!r}; give model by name, or load weights into the network"
                )
        network = as_segmenter(model)
        fields["model"] = architecture_of(network)
        is_frozen = not all(weight.requires_grad for weight in network.parameters())
        if type(network) in MODELS.values() and not is_frozen:  # a resumed run can build it
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            fields["architecture"] = network.config.model_dump(mode="json")
        if isinstance(network, Adapted):
            _check_can_be_loaded(network, fields["model"])
        return network
    if not isinstance(model, str | Path):
        raise TypeError(f"model must be a torch.nn.Module or a name, got {type(model).__name__}")
    is_file = str(model) in SHIPPED or str(model).endswith(".safetensors")
    fields["init_from" if is_file else "model"] = str(model)
    return None


def _check_can_be_loaded(network: Adapted, architecture: str) -> None:
    """Refuse a plain network that is not what its class builds from the stored arguments."""
    try:
        with torch.random.fork_rng(devices=()):
            twin = build_model(architecture, network.config.options)
        states = [each.state_dict() for each in (network, twin)]
        shapes = [{name: x.shape for name, x in state.items()} for state in states]
        reason = "" if shapes[0] == shapes[1] else "weights of other names or shapes"
    except EchosegError as error:
        reason = str(error)
    if reason:
        name = type(network.network).__name__
        raise ModelError(
            f"{name} could not be loaded after training, since {name}(**{network.config.options}) "
            f"does not build it again ({reason}); set its attribute config to a dict of the "
            "arguments it was built with"
        )


def _method_object(method: Any, fields: dict[str, Any]) -> TrainingMethod | None:
    if isinstance(method, type) and issubclass(method, TrainingMethod):
        method = method(**fields.get("method_options", {}))
    if isinstance(method, TrainingMethod):
        kind = type(method)
        names = [name for name, known in METHODS.items() if known is kind]
        fields["method"] = names[0] if names else f"{kind.__module__}:{kind.__qualname__}"
        return method
    if not isinstance(method, str):
        raise TypeError(f"method must be a TrainingMethod or a name, got {type(method).__name__}")
    fields.update(with_recipe(method, fields))
    return None


def _loss_object(loss: Any, fields: dict[str, Any]) -> Any:
    if isinstance(loss, str):
        fields["loss"] = loss
        return None
    if loss is not None and not callable(loss):
        raise TypeError(f"loss must be a function or a name, got {type(loss).__name__}")
    return loss


def _describe(data: Any) -> str:
    return str(data) if isinstance(data, str | Path) else str(getattr(data, "root", type(data)))


def nothing(_: object) -> None:
    """The default of callbacks."""


def run_training(
    config: TrainConfig | None,
    out: str | Path,
    *,
    report: Callable[[Progress], None] = nothing,
    log: Callable[[str], None] = nothing,
    components: Components | None = None,
) -> Path:
    """Do a run; return the weights with the best validation score, or the last without validation.

    Args:
        config: The settings; None resumes the run that `out` holds.
        out: The run's folder; see `run_folder`.
        report: Called every few steps.
        log: Called with a sentence when something begins.
        components: Objects that are used instead of what the config names.

    Raises:
        EchosegError: If config, data, folder or checkpoint are wrong; before the first step.
    """
    out = Path(out)
    folder, resumes = RunFolder(out), config is None
    config = folder.config(has_objects=components is not None) if config is None else config
    components = components or Components()
    fabric = make_fabric(config)
    fabric.launch()
    is_first = fabric.is_global_zero  # only the first process writes
    announce = log if is_first else nothing
    with locked_dir(out) if is_first else nullcontext():
        state = folder.load() if resumes else None
        if resumes and (lacking := folder.lacking_fields()):
            announce(
                f"this run was begun by another version: {', '.join(lacking)} take their defaults, "
                "so the numbers are not those of an uninterrupted run"
            )
        announce("opening the data")
        training_set, validation, sources = open_data(config, components)
        run = Run(config, training_set, fabric, components)
        notes = _unused_data(run, sources)
        if state is not None:
            run.load_state_dict(state)
        elif is_first:
            num_bytes = sum(weight.nbytes for weight in run.module.parameters())
            folder.begin(config, needed_bytes=8 * num_bytes)
        about = {"data": training_set.summary(), "steps": run.batches.summary()}
        about["precision"] = _precision(config, fabric.device)
        announce(
            f"{about['data']}; {config.num_steps - run.step} steps in {about['precision']}; "
            f"{about['steps']}"
        )
        for note in notes:
            announce(note)
        if is_first:
            folder.report({"step": run.step, **about})
        card = make_card(config, sources, run.module)
        tensorboard = TensorBoardLogger(out)

        def save_model(name: str, model: Any) -> None:
            folder.write_model(name, lambda path: save_checkpoint(path, model, card))

        def validate(model: Any) -> dict[str, float]:
            write_samples(out / "samples.png", model, validation or training_set)
            return validation_scores(model, validation or training_set)

        def report_everywhere(progress: Progress) -> None:
            tensorboard.log(progress)
            report(progress)

        with interrupt_requested() as is_requested:
            fit(
                run,
                folder,
                validate=None if validation is None else validate,
                report=report_everywhere,
                save_model=save_model,
                is_stopped=is_requested,
            )
    best = out / "best.safetensors"
    return best if best.exists() else out / "model.safetensors"


def _unused_data(run: Run, sources: Sequence[Source]) -> list[str]:
    """Sentences on data that are not used, or not as they are.

    Raises:
        ConfigError: If every clip is too short.
    """
    config, notes = run.config, []
    if num := sum(source.num_left_out for source in sources):
        notes.append(f"{num} files or clips cannot be used; echoseg data check lists them")
    if short := run.batches.training_set.short_clips(config.num_frames):
        notes.append(short)
    if config.unlabeled_data and not run.module.method.uses_unlabeled:
        notes.append(
            f"unlabeled_data are not used: the method {config.method} learns from labeled clips "
            "alone"
        )
    return notes


def open_data(
    config: TrainConfig, components: Components | None = None
) -> tuple[TrainingSet, TrainingSet | None, list[Source]]:
    """Open training and validation data, with the masks that the config lets be used.

    Raises:
        EchosegError: If a data set cannot be opened, or no patient would be labeled.
    """
    components = components or Components()
    reader = Reader(config.image_size, ClipCache(int(config.cache_gb * 2**30)), config.views)
    data: Sequence[Any] = components.data or config.data
    sources = [reader.open(each) for each in data]
    extra = [reader.open(name, field="extra_data") for name in config.extra_data]
    unlabeled = [reader.open(name, field="unlabeled_data") for name in config.unlabeled_data]
    training_set = joined([_labeled(each.clips, config) for each in sources], config.data_weights)
    if extra:
        weights = 1 - config.extra_data_fraction, config.extra_data_fraction
        added = joined([each.clips for each in extra])
        added = replace(added, is_target=torch.zeros_like(added.is_target))
        training_set = joined([training_set, added], weights)
    hidden = [each.clips.labeled_fraction(0) for each in unlabeled]
    training_set = joined([training_set, *hidden])
    validation = reader.open_validation(data, components.validation or config.validation)
    return training_set, validation, [*sources, *extra, *unlabeled]


def _labeled(clips: TrainingSet, config: TrainConfig) -> TrainingSet:
    """The clips with only those masks that the config lets be used."""
    if config.labeled_fraction < 1:
        clips = clips.labeled_fraction(config.labeled_fraction, config.split_seed)
    return clips.ed_es_only() if config.labeled_frames == "ed_es" else clips


def make_fabric(config: TrainConfig) -> Any:
    """Devices and processes: one, or as many as `torchrun` started.

    Raises:
        ConfigError: If the accelerator is not there.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it logs every precision
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    num_processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    try:
        return Fabric(
            accelerator=config.accelerator,
            devices=num_processes,
            # buffers are the same in all by design, or belong to a process (batch norm)
            strategy=DDPStrategy(broadcast_buffers=False) if num_processes > 1 else "auto",
            precision=_precision(config, Fabric(accelerator=config.accelerator, devices=1).device),
        )
    except RuntimeError as error:
        raise ConfigError(
            f"accelerator must be one that this machine has, {config.accelerator} is not; give auto"
        ) from error


def _precision(config: TrainConfig, device: torch.device) -> Any:
    """The number type of a run; without hardware for it, bfloat16 takes many times as long."""
    if config.precision != "auto":
        return config.precision
    if device.type == "cuda":
        is_native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        is_native = device.type == "cpu" and has_bf16()
    return "bf16-mixed" if is_native else "32-true"
