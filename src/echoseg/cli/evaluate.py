"""`echoseg evaluate` and `echoseg compare`."""

from dataclasses import asdict, replace
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoseg.cli.console import one_line, progress_bar, show_backup
from echoseg.cli.options import (
    AllowOutside,
    Data,
    Force,
    ForceFile,
    Hearts,
    Jobs,
    Keep,
    KeepFile,
    Tiers,
    replacing,
)
from echoseg.errors import ConfigError

if TYPE_CHECKING:
    from echoseg.data import Record
    from echoseg.evaluation.predictors import Predictor
    from echoseg.evaluation.results import Source


def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(help="Name (see `echoseg models`), .safetensors or .onnx file."),
    ] = None,
    data: Data = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="Instead of MODEL: folder of another tool's masks, by clip name."),
    ] = None,
    adapter: Annotated[
        Path | None,
        typer.Option(help="JSON: labels, size, grey levels of an .onnx file (default: FILE.json)."),
    ] = None,
    phantom: Tiers = None,
    split: Annotated[
        str | None,
        typer.Option(help="train, validation, test, all, ... (default: test, else validation)."),
    ] = None,
    hearts: Hearts = None,
    corrupt: Annotated[
        float,
        typer.Option(help="Probability of corrupting a frame, except a clip's first: robustness."),
    ] = 0.0,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to create.")] = Path(
        "echoseg-evaluation"
    ),
    pictures: Annotated[
        bool, typer.Option(help="Show the worst frames, images of the data, in the report.")
    ] = True,
    jobs: Jobs = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "cpu",
    allow_outside: AllowOutside = False,
    force: Force = False,
    keep: Keep = False,
) -> None:
    """Evaluate a model, or any tool's masks: Dice, distances, EF, confidence intervals, report.

    Exit codes: 0 all clips were evaluated; 1 some clips failed (listed in the report); 2 invalid
    command.
    """
    from echoseg.evaluation.corruptions import corrupt_records
    from echoseg.evaluation.results import MARK, write_results
    from echoseg.evaluation.run import evaluate as run_evaluation
    from echoseg.files import OwnedFolder
    from echoseg.inference.analyzer import choose_device
    from echoseg.parallel import check_jobs

    jobs, device = check_jobs(jobs), choose_device(device)
    if predictions is not None and model is not None and data is None:
        model, data = None, Path(model)  # one argument, which is the data
    chosen = chosen_predictor(model, predictions, adapter)
    replace_old = replacing(force, keep)
    backup = OwnedFolder(output, MARK, replace_old).check()
    if not 0 <= corrupt <= 1:
        raise ConfigError(f"--corrupt must be a probability from 0 to 1, got {corrupt:g}")
    records, source = select_records(data, phantom, split, hearts, allow_outside=allow_outside)
    if corrupt:
        records = corrupt_records(records, corrupt)
        note = f"frames were corrupted with probability {corrupt:g}"
        source = replace(source, notes=(*source.notes, note))
    with progress_bar(source.title, "clips") as update:
        evaluation = run_evaluation(chosen, records, device=device, jobs=jobs, progress=update)
    summary = write_results(evaluation, source, output, pictures=pictures, force=replace_old)
    _show(summary, output)
    show_backup(backup)
    if any(problem["kind"] != "known" for problem in summary["problems"]):
        raise typer.Exit(1)


def chosen_predictor(
    model: str | None, predictions: Path | None, adapter: Path | None
) -> "str | Predictor":
    """What makes the masks: a checkpoint, an ONNX file, or another tool."""
    if (model is None) == (predictions is None):
        raise ConfigError("give either a model or --predictions FOLDER, and the data")
    if adapter is not None and not (model and model.endswith(".onnx")):
        raise ConfigError(f"--adapter needs an .onnx file as model, got {model or predictions}")
    if predictions is not None:
        from echoseg.evaluation.predictions import PredictionFolder

        return PredictionFolder(predictions)
    if adapter is not None:
        from echoseg.evaluation.onnx_network import OnnxNetwork, read_adapter

        return OnnxNetwork(Path(str(model)), read_adapter(adapter))
    return str(model)


def select_records(
    data: Path | None,
    tiers: list[str] | None,
    split: str | None,
    hearts: int | None,
    defaults: tuple[str, ...] = ("test", "validation"),
    allow_outside: bool = False,
) -> "tuple[tuple[Record, ...], Source]":
    """The records to evaluate on, and their origin."""
    from echoseg.data import load_dataset
    from echoseg.evaluation.results import Source, source_of
    from echoseg.evaluation.run import phantom_records, select_split
    from echoseg.phantom.benchmark import PHANTOM_NAME

    if (data is None) == (not tiers):
        raise ConfigError("give either the folder of a data set or --phantom TIER")
    if tiers:
        chosen = () if tiers == ["all"] else tuple(tiers)
        split = split or defaults[0]
        records = phantom_records(split, chosen, hearts)
        return records, Source(dataset=PHANTOM_NAME, title=PHANTOM_NAME, split=split)
    if hearts is not None:
        raise ConfigError("--hearts needs --phantom; data sets are evaluated as a whole")
    dataset = load_dataset(Path(str(data)), allow_outside=allow_outside)
    records = tuple(select_split(dataset, split, defaults))
    return records, source_of(dataset, records)


def _show(summary: dict[str, Any], output: Path) -> None:
    """Print the means by structure and the ejection fraction."""
    counts = summary["counts"]
    split = f", {summary['data']['split']}" if summary["data"]["split"] else ""
    typer.echo(
        f"{summary['data']['title']}{split}: {counts['clips']} clips, {counts['items']} items"
    )
    typer.echo(f"means over {summary['frames']}:")
    for name, scores in summary["structures"].items():
        unit = "mm" if "asd_mm" in scores else "px"
        values = [f"{scores['dice']['mean']:.4f}" if scores["dice"]["n"] else "none"]
        for key in (f"hd95_{unit}", f"asd_{unit}"):
            if key in scores:
                values.append(f"{key.split('_')[0].upper()} {scores[key]['mean']:.2f} {unit}")
        rate = scores["failure_rate"]
        failed = "" if rate is None else f", failures {100 * rate:.1f} %"
        typer.echo(f"  {name:<8} Dice {', '.join(values)}{failed}")
    ef = summary["ef"]
    if ef and not ef["n"]:
        typer.echo(f"  EF       none could be read, {ef['n_failed']} of {ef['n_failed']} failed")
    elif ef:
        sd = "" if ef["sd"] is None else f", SD {ef['sd']:.2f}"
        typer.echo(
            f"  EF       MAE {ef['mae']:.2f} points, bias {ef['bias']:+.2f}{sd}, "
            f"{ef['n_failed']} of {ef['n'] + ef['n_failed']} failed"
        )
    else:
        typer.echo("  EF       not compared: it needs ed_frame and es_frame, with their masks")
    for problem in summary["problems"][:20]:
        typer.echo(one_line(f"  {problem['kind']}: {problem['place']}: {problem['reason']}"))
    if len(summary["problems"]) > 20:
        typer.echo(f"  ... and {len(summary['problems']) - 20} more, in {output / 'report.md'}")
    typer.echo(f"{output}: report.html, report.md, items.csv, clips.csv, summary.json")
    if not (output / "items.parquet").exists():
        typer.echo("no items.parquet: that needs pip install 'echoseg[parquet]'")


def compare(
    a: Annotated[Path, typer.Argument(help="Output folder of `echoseg evaluate`.")],
    b: Annotated[Path, typer.Argument(help="Another one, on the same data.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Also write the differences as JSON."),
    ] = None,
    force: ForceFile = False,
    keep: KeepFile = False,
) -> None:
    """Compare two evaluations: paired differences, confidence intervals, Wilcoxon test."""
    from echoseg.evaluation.compare import compare as run_comparison
    from echoseg.files import check_new_file, write_owned_text

    how = replacing(force, keep)
    backup = check_new_file(output, how) if output else None
    comparison = run_comparison(a, b)
    if output is not None:
        write_owned_text(output, dumps(asdict(comparison), indent=1) + "\n", how)
        show_backup(backup)
    patients = max(one.patients for one in comparison.differences)
    typer.echo(f"{comparison.frames}, {comparison.differences[0].n} items, {patients} patients")
    typer.echo(f"{'':<18}{'A':>10}{'B':>10}{'B - A':>10}  [95 %]{'p':>24}{'n':>6}")
    for one in comparison.differences:
        interval = "" if one.ci95 is None else f"[{one.ci95[0]:+.4f} to {one.ci95[1]:+.4f}]"
        p = "" if one.p_value is None else f"{one.p_value:.2g}"
        name = f"{one.structure} {one.metric} {one.unit}".strip()
        typer.echo(
            f"{name:<18}{one.a_mean:>10.4f}{one.b_mean:>10.4f}{one.difference:>+10.4f}  "
            f"{interval:<22}{p:>8}{one.n:>6}"
        )
    if comparison.smallest_p > 0.05:
        typer.echo(f"{patients} patients give no p under {comparison.smallest_p:.2g}")
    if comparison.only_a or comparison.only_b:
        typer.echo(f"items that only A has: {comparison.only_a}, only B: {comparison.only_b}")
    if comparison.ef_lost_a or comparison.ef_lost_b:
        typer.echo(
            f"clips whose EF only A lost: {comparison.ef_lost_a}, only B: {comparison.ef_lost_b}; "
            "the EF row is over the others"
        )
