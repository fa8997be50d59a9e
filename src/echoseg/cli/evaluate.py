"""`echoseg evaluate` and `echoseg compare`: a checkpoint judged, two judgements set beside."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoseg.cli.console import fail, one_line, progress_bar
from echoseg.errors import EchosegError

if TYPE_CHECKING:
    from echoseg.data import Record
    from echoseg.evaluation.results import Source


def evaluate(
    model: Annotated[str, typer.Argument(help="Name (see `echoseg models`) or .safetensors file.")],
    data: Annotated[
        Path | None, typer.Argument(help="Folder of a data set or of clips with masks, or a CSV.")
    ] = None,
    phantom: Annotated[
        list[str] | None,
        typer.Option(help="Instead: a tier of phantom-v1 (easy ... extreme) or all; repeatable."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="train, validation, test, ... or all; else test, else validation."),
    ] = None,
    hearts: Annotated[
        int | None, typer.Option(help="Of the phantom: the first so many of each tier.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to be made.")] = Path(
        "echoseg-evaluation"
    ),
    pictures: Annotated[
        bool, typer.Option(help="Show the worst frames, pictures of the data, in the page.")
    ] = True,
    jobs: Annotated[int, typer.Option(help="Processes; the result does not depend on it.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "cpu",
    force: Annotated[bool, typer.Option("--force", help="Replace a result that exists.")] = False,
) -> None:
    """Judge a network on a data set: table of items, means with intervals, EF, report.

    Exit codes: 0 every clip was judged; 1 some could not be, and were told; 2 nothing was done.
    """
    try:
        from echoseg.evaluation.results import check_output, write_results
        from echoseg.evaluation.run import evaluate as judge
        from echoseg.inference.analyzer import choose_device
        from echoseg.parallel import check_jobs

        jobs, device = check_jobs(jobs), choose_device(device)
        check_output(output, force)
        records, source = _records(data, phantom, split, hearts)
        with progress_bar(source.title, "clips") as update:
            found = judge(model, records, device=device, jobs=jobs, progress=update)
        told = write_results(found, records, source, output, pictures=pictures, force=force)
    except EchosegError as error:
        fail(str(error))
        raise typer.Exit(2) from None
    _show(told, output)
    if any(problem["kind"] != "known" for problem in told["problems"]):
        raise typer.Exit(1)


def _records(
    data: Path | None, tiers: list[str] | None, split: str | None, hearts: int | None
) -> "tuple[tuple[Record, ...], Source]":
    """Return what is to be judged, and where it comes from."""
    from echoseg.errors import ConfigError
    from echoseg.evaluation.results import Source

    if (data is None) == (not tiers):
        raise ConfigError("give the folder of a data set, or --phantom TIER, one of the two")
    if tiers:
        from echoseg.evaluation.run import phantom_records

        chosen = () if tiers == ["all"] else tuple(tiers)
        split = split or "test"
        records = phantom_records(split, chosen, hearts)
        return records, Source(dataset="phantom-v1", title="phantom-v1", split=split)
    if hearts is not None:
        raise ConfigError("hearts goes with --phantom; a data set is judged whole")
    return _of_dataset(Path(str(data)), split)


def _of_dataset(data: Path, split: str | None) -> "tuple[tuple[Record, ...], Source]":
    """Return a split: that asked for, else test, else validation; all of a data set without splits.

    Raises:
        DatasetError: If the split is not there, or there are splits and none to be judged on.
    """
    from echoseg.data import DATASETS, open_dataset
    from echoseg.errors import DatasetError
    from echoseg.evaluation.results import Source

    collection = open_dataset(data)
    there = collection.splits()
    if split is None:
        held = [name for name in ("test", "validation") if name in there]
        split = held[0] if held else "all" if set(there) == {""} else ""
    if not split:
        named = ", ".join(f"{name or 'no split'} ({n})" for name, n in there.items())
        raise DatasetError(
            f"{data} holds neither a test nor a validation split, it holds {named}; choose with "
            "--split"
        )
    records = collection.records if split == "all" else collection.of_split(split)
    source = Source(
        dataset=collection.dataset,
        title=DATASETS[collection.dataset].title,
        split=records[0].split if split != "all" else "",
        notes=collection.notes,
        problems=collection.problems,
    )
    return records, source


def _show(told: dict[str, Any], output: Path) -> None:
    """Print the means by structure and the ejection fraction."""
    counts = told["counts"]
    split = f", {told['data']['split']}" if told["data"]["split"] else ""
    typer.echo(f"{told['data']['title']}{split}: {counts['clips']} clips, {counts['items']} items")
    typer.echo(f"means over {told['frames']}:")
    for name, scores in told["structures"].items():
        unit = "mm" if "asd_mm" in scores else "px"
        values = [f"{scores['dice']['mean']:.4f}" if scores["dice"]["n"] else "none"]
        for key in (f"hd95_{unit}", f"asd_{unit}"):
            if key in scores:
                values.append(f"{key.split('_')[0].upper()} {scores[key]['mean']:.2f} {unit}")
        rate = scores["failure_rate"]
        failed = "" if rate is None else f", failures {100 * rate:.1f} %"
        typer.echo(f"  {name:<8} Dice {', '.join(values)}{failed}")
    ef = told["ef"]
    if ef and not ef["n"]:
        typer.echo(f"  EF       none could be read, {ef['n_failed']} of {ef['n_failed']} failed")
    elif ef:
        sd = "" if ef["sd"] is None else f", SD {ef['sd']:.2f}"
        typer.echo(
            f"  EF       MAE {ef['mae']:.2f} points, bias {ef['bias']:+.2f}{sd}, "
            f"{ef['n_failed']} of {ef['n'] + ef['n_failed']} failed"
        )
    for problem in told["problems"][:20]:
        typer.echo(one_line(f"  {problem['kind']}: {problem['place']}: {problem['reason']}"))
    if len(told["problems"]) > 20:
        typer.echo(f"  ... and {len(told['problems']) - 20} more, in {output / 'report.md'}")
    typer.echo(f"{output}: report.html, report.md, items.csv, clips.csv, summary.json")
    if not (output / "items.parquet").exists():
        typer.echo("no items.parquet: that needs pip install 'echoseg[parquet]'")


def compare(
    a: Annotated[Path, typer.Argument(help="A folder that `echoseg evaluate` wrote.")],
    b: Annotated[Path, typer.Argument(help="Another, of the same data.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the differences as JSON as well.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file of -o.")] = False,
) -> None:
    """Set two evaluations beside each other: paired differences, intervals, a test."""
    try:
        from dataclasses import asdict
        from json import dumps

        from echoseg.evaluation.compare import compare as set_beside
        from echoseg.files import check_new_file, write_text

        if output is not None:
            check_new_file(output, force)
        found = set_beside(a, b)
        if output is not None:
            write_text(output, dumps(asdict(found), indent=1) + "\n")
    except EchosegError as error:
        fail(str(error))
        raise typer.Exit(2) from None
    patients = max(one.patients for one in found.differences)
    typer.echo(f"{found.frames}, {found.differences[0].n} items, {patients} patients")
    typer.echo(f"{'':<18}{'A':>10}{'B':>10}{'B - A':>10}  [95 %]{'p':>18}")
    for one in found.differences:
        interval = "" if one.ci95 is None else f"[{one.ci95[0]:+.4f} to {one.ci95[1]:+.4f}]"
        p = "" if one.p_value is None else f"{one.p_value:.2g}"
        name = f"{one.structure} {one.metric} {one.unit}".strip()
        typer.echo(
            f"{name:<18}{one.a_mean:>10.4f}{one.b_mean:>10.4f}{one.difference:>+10.4f}  "
            f"{interval:<22}{p:>8}"
        )
    if found.only_a or found.only_b:
        typer.echo(f"items that only A has: {found.only_a}, only B: {found.only_b}")
