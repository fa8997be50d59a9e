"""`echoseg analyze`: clips one by one, two views of a heart together, or a whole cohort."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoseg.cli.console import DISCLAIMER, fail, progress_bar
from echoseg.cli.options import (
    Device,
    Force,
    Fps,
    Model,
    Output,
    Pdf,
    Runtime,
    Smoothing,
    SpacingMm,
    Timing,
    ViewGiven,
)
from echoseg.cli.table import show_analysis, show_study
from echoseg.errors import ConfigError, EchosegError

if TYPE_CHECKING:
    from echoseg.clip import Clip
    from echoseg.inference.analysis import Analysis
    from echoseg.inference.analyzer import Analyzer
    from echoseg.report.biplane import Pair


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One clip to analyse, where its results go and what the user said of it."""

    source: Path
    folder: Path
    open_options: dict[str, Any]
    force: bool
    smoothing: bool = True
    pdf: bool = False
    pages: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class PairJob:
    """Two clips of one heart; the views are those of their places, whatever is said."""

    a4c: Path
    a2c: Path
    folder: Path
    open_options: dict[str, Any]
    force: bool
    smoothing: bool = True
    pdf: bool = False


def _show_timing(stages: dict[str, float]) -> None:
    typer.echo("where the time went:")
    for stage, seconds in stages.items():
        typer.echo(f"  {stage:<16}{seconds:8.2f} s")


def _analyze_one(analyzer: "Analyzer", clip: "Clip", job: Job) -> tuple["Analysis", float]:
    """Analyse and write; return the analysis and the seconds spent writing."""
    from echoseg.report.writer import write_results

    with progress_bar(job.source.name, "frames") as update:
        analysis = analyzer.analyze(clip, smoothing=job.smoothing, progress=update)
    start = time.perf_counter()
    write_results(analysis, job.folder, force=job.force, pdf=job.pdf, pages=job.pages)
    return analysis, time.perf_counter() - start


def _run_job(analyzer: "Analyzer", job: Job, *, timing: bool) -> bool:
    """Run one clip; return whether it has an EF. Errors are told in one line."""
    from echoseg.io import load_clip
    from echoseg.report.writer import check_output

    start = time.perf_counter()
    try:
        check_output(job.folder, job.force)
        clip = load_clip(job.source, **job.open_options)
        read_time_s = time.perf_counter() - start
        analysis, write_time_s = _analyze_one(analyzer, clip, job)
    except EchosegError as error:
        fail(str(error))
        return False
    show_analysis(analysis, job.folder)
    if timing:
        _show_timing({"read": read_time_s, **analysis.timing_s, "write": write_time_s})
    return analysis.measurement.ef_percent is not None


def _run_pair(analyzer: "Analyzer", job: PairJob, *, timing: bool) -> bool:
    """Run both clips of a heart; return whether they have a biplane EF."""
    from echoseg.clip import View
    from echoseg.io import load_clip
    from echoseg.report.biplane import join
    from echoseg.report.writer import check_study_output, write_study

    start = time.perf_counter()
    try:
        check_study_output(job.folder, job.force)
        both = []
        for view, source in ((View.A4C, job.a4c), (View.A2C, job.a2c)):
            clip = load_clip(source, **{**job.open_options, "view": view})
            with progress_bar(source.name, "frames") as update:
                both.append(analyzer.analyze(clip, smoothing=job.smoothing, progress=update))
        study = join(*both)
        write_study(study, job.folder, force=job.force, pdf=job.pdf)
    except EchosegError as error:
        fail(str(error))
        return False
    show_study(study, job.folder)
    if timing:
        _show_timing({"both clips": time.perf_counter() - start})
    return study.biplane.ef_percent is not None


def run(
    jobs: Sequence[Job | PairJob],
    *,
    model: str,
    device: str,
    timing: bool,
    runtime: str = "torch",
) -> None:
    """Load the model once, run every job, and leave with the exit code."""
    start = time.perf_counter()
    try:
        from echoseg.inference.analyzer import Analyzer

        analyzer = Analyzer(model, device, runtime)
    except EchosegError as error:
        fail(str(error))
        raise typer.Exit(2) from None
    if timing:
        typer.echo(f"imports and model: {time.perf_counter() - start:.2f} s")
    typer.echo(DISCLAIMER)
    if notice := analyzer.model_card.notice:
        typer.echo(f"model {analyzer.model_card.name}: {notice}")
    runs = {Job: _run_job, PairJob: _run_pair}
    good = [runs[type(job)](analyzer, job, timing=timing) for job in jobs]
    if len(jobs) > 1:
        things = "studies" if isinstance(jobs[0], PairJob) else "clips"
        typer.echo(f"{sum(good)} of {len(jobs)} {things} have an EF")
    if not all(good):
        raise typer.Exit(1)


def analyze(
    clips: Annotated[
        list[Path] | None,
        typer.Argument(help="Clips: files, or folders of PNG frames; or a folder of many clips."),
    ] = None,
    output: Output = Path("echoseg-results"),
    a4c: Annotated[Path | None, typer.Option(help="With --a2c, of one heart: biplane.")] = None,
    a2c: Annotated[Path | None, typer.Option(help="With --a4c, of one heart: biplane.")] = None,
    study: Annotated[
        Path | None, typer.Option(help="Folder of clips, paired by the view in their names.")
    ] = None,
    view: ViewGiven = None,
    spacing_mm: SpacingMm = None,
    fps: Fps = None,
    smoothing: Smoothing = True,
    pdf: Pdf = False,
    force: Force = False,
    allow_damaged: Annotated[
        bool, typer.Option("--allow-damaged", help="Analyse the readable part of broken files.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(help="Of a cohort: processes, by default one a processor.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a cohort that was stopped.")
    ] = False,
    pages: Annotated[
        bool,
        typer.Option("--pages/--no-pages", help="Film, curve and page of each clip."),
    ] = True,
    device: Device = "auto",
    model: Model = "camus",
    runtime: Runtime = "torch",
    timing: Timing = False,
) -> None:
    """Segment and measure clips: masks, overlay video, volume curve, EF, report.

    A folder of many clips, --jobs or --resume make a cohort: one result folder a clip, results.csv
    and failures.csv over all; after any stop --resume goes on.
    """
    from echoseg.io.frames import OpenOptions
    from echoseg.report.writer import result_folder_names

    options: dict[str, Any] = {
        "view": view,
        "spacing_mm": spacing_mm,
        "fps": fps,
        "allow_damaged": allow_damaged,
    }
    known: dict[str, Any] = {
        "open_options": options,
        "force": force,
        "smoothing": smoothing,
        "pdf": pdf,
    }
    try:
        OpenOptions(**options)
        pairs = _pairs(clips or [], a4c, a2c, study)
        if clips and _is_cohort(clips, jobs, resume):
            settings = known | {
                "device": device,
                "model": model,
                "runtime": runtime,
                "pages": pages,
            }
            num_jobs = (os.cpu_count() or 1) if jobs is None else jobs
            return run_cohort(clips, settings, output, num_jobs, resume)
        if pairs and (jobs is not None or resume or not pages):
            raise ConfigError("--jobs, --resume and --no-pages are not for two views: give CLIPS")
    except EchosegError as error:
        fail(str(error))
        raise typer.Exit(2) from None
    todo: list[Job | PairJob] = [
        PairJob(a4c=pair.a4c, a2c=pair.a2c, folder=output / name, **known)
        for pair, name in zip(
            pairs, result_folder_names([Path(pair.name) for pair in pairs]), strict=True
        )
    ]
    todo += [
        Job(source=clip, folder=output / name, pages=pages, **known)
        for clip, name in zip(clips or [], result_folder_names(clips or []), strict=True)
    ]
    run(todo, model=model, device=device, runtime=runtime, timing=timing)


def _is_cohort(clips: Sequence[Path], jobs: int | None, resume: bool) -> bool:
    from echoseg.report.cohort import is_clip

    # a clip that is not there fails beside the others, which are done
    there = filter(os.path.exists, clips)
    return resume or jobs is not None or not all(map(is_clip, there))


def run_cohort(
    clips: Sequence[Path], asked: dict[str, Any], output: Path, jobs: int, resume: bool
) -> None:
    """Analyse a cohort and leave with the exit code.

    Raises:
        EchosegError: If it cannot be begun or gone on with.
    """
    from echoseg.parallel import check_jobs
    from echoseg.report import cohort
    from echoseg.weights.card import find_checkpoint, read_card

    if asked["force"]:
        raise ConfigError("--force is not for a cohort: nothing is replaced; give another -o")
    card = read_card(find_checkpoint(asked["model"]))
    settings = cohort.Settings(
        model=asked["model"],
        model_sha256=card.sha256,
        **asked["open_options"],
        **{name: asked[name] for name in ("device", "runtime", "smoothing", "pdf", "pages")},
    )
    jobs = check_jobs(jobs)
    typer.echo(DISCLAIMER)
    if notice := card.notice:
        typer.echo(f"model {card.name}: {notice}")
    with progress_bar(output.name, "clips") as update:
        done = cohort.run_cohort(
            cohort.find_clips(clips, output),
            settings,
            output,
            jobs=jobs,
            resume=resume,
            progress=update,
        )
    good = done.clips - done.failed - done.without_ef
    typer.echo(
        f"{good} of {done.clips} clips have an EF, {done.without_ef} have none, {done.failed} "
        f"could not be analysed: {output}: {cohort.RESULTS_TABLE}, {cohort.FAILURES_TABLE}"
    )
    if good < done.clips:
        raise typer.Exit(1)


def _pairs(
    clips: list[Path], a4c: Path | None, a2c: Path | None, study: Path | None
) -> "tuple[Pair, ...]":
    """Return the pairs asked for, none where clips are; refuse what asks for two things."""
    from echoseg.report.biplane import Pair, pair_clips

    if bool(clips) + (study is not None) + (a4c is not None or a2c is not None) != 1:
        raise ConfigError(
            "give CLIPS, or --a4c with --a2c, or --study FOLDER, one of the three; "
            "see echoseg analyze --help"
        )
    if clips:
        return ()
    if study is None:
        if a4c is None or a2c is None:
            raise ConfigError("--a4c and --a2c go together: give both clips of the heart")
        return (Pair(name="biplane", a4c=a4c, a2c=a2c),)
    if not study.is_dir():
        raise ConfigError(f"--study must be a folder of clips, {study} is none")
    return pair_clips(path for path in study.iterdir() if not path.name.startswith("."))
