"""`echoseg analyze`: single clips, two views of a heart, or a cohort."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoseg.cli.console import fail, progress_bar, public, show_backup, show_notice, start_private
from echoseg.cli.options import (
    AllowDamaged,
    AllowOutside,
    BackendName,
    Device,
    Dicom,
    Force,
    ForceView,
    Fps,
    Keep,
    MaxDecoded,
    Model,
    Output,
    Pdf,
    Private,
    PrivateKey,
    Quiet,
    Smoothing,
    SpacingMm,
    Timing,
    ViewGiven,
    chosen_backend,
    cohort_option,
    input_option,
    output_option,
    replacing,
)
from echoseg.errors import ConfigError, EchosegError

if TYPE_CHECKING:
    from echoseg.files import Replace
    from echoseg.inference.analysis import Analysis
    from echoseg.inference.analyzer import Analyzer
    from echoseg.inference.ef_statement import EfStatement
    from echoseg.private import Pseudonyms


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One clip, or the A4C and the A2C clip of a heart, with its result folder and options.

    Of two clips the order says the views, whatever the files say.
    """

    sources: tuple[Path, ...]
    folder: Path
    open_options: dict[str, Any]
    force: "Replace"
    smoothing: bool = True
    force_view: bool = False
    pdf: bool = False
    pages: bool = True
    dicom: bool = False
    names: "Pseudonyms | None" = None


def analyze_clip(analyzer: "Analyzer", job: Job, source: Path, **options: Any) -> "Analysis":
    """Read and analyze a clip; the time of reading is the first stage."""
    from echoseg.io import load_clip
    from echoseg.preprocess.sector import blank_outside

    start = time.perf_counter()
    alias = job.names and job.names.name(source)
    clip = load_clip(source, alias=alias, **(job.open_options | options))
    read_time_s = time.perf_counter() - start
    with progress_bar(alias or source.name, "frames") as update:
        analysis = analyzer.analyze(
            clip, smoothing=job.smoothing, force_view=job.force_view, progress=update
        )
    if alias:
        analysis = replace(analysis, clip=blank_outside(analysis.clip))
    return replace(analysis, timing_s={"read": read_time_s, **analysis.timing_s})


def _run_clip(analyzer: "Analyzer", job: Job) -> tuple["EfStatement", dict[str, float]]:
    from echoseg.cli.table import show_analysis
    from echoseg.report.writer import check_output, write_results

    backup = check_output(job.folder, job.force)
    _check_dicom(job)
    analysis = analyze_clip(analyzer, job, job.sources[0])
    start = time.perf_counter()
    write_results(analysis, job.folder, force=job.force, pdf=job.pdf, pages=job.pages)
    write_dicom_objects(job.folder, job.sources, job.dicom)
    write_time_s = time.perf_counter() - start
    show_analysis(analysis, job.folder)
    show_backup(backup)
    return analysis.ef, {**analysis.timing_s, "write": write_time_s}


def _run_pair(analyzer: "Analyzer", job: Job) -> tuple["EfStatement", dict[str, float]]:
    from echoseg.cli.table import show_biplane
    from echoseg.report.biplane import BiplaneAnalysis, build_biplane_report
    from echoseg.report.writer import PLANES, check_output, write_biplane

    start = time.perf_counter()
    backup = check_output(job.folder, job.force)
    _check_dicom(job)
    a4c, a2c = (
        analyze_clip(analyzer, job, source, view=plane)
        for plane, source in zip(PLANES, job.sources, strict=True)
    )
    analysis = BiplaneAnalysis(a4c=a4c, a2c=a2c)
    write_biplane(analysis, job.folder, force=job.force, pdf=job.pdf)
    write_dicom_objects(job.folder, job.sources, job.dicom)
    time_s = time.perf_counter() - start
    show_biplane(build_biplane_report(analysis), job.folder)
    show_backup(backup)
    return analysis.ef, {"both clips": time_s}


def _check_dicom(job: Job) -> None:
    """Check, before long work, that DICOM objects can be written of the sources."""
    if job.dicom:
        from echoseg.dicom.source import read_source

        list(map(read_source, job.sources))


def write_dicom_objects(folder: Path, sources: Sequence[Path], wanted: bool = True) -> None:
    """Write the DICOM objects of a result folder into it, where that is wanted."""
    if wanted:
        from echoseg.dicom.write import write_dicom

        written = write_dicom(folder, *sources)
        typer.echo(public(f"DICOM objects, of the source's patient: {written}"))


def write_all_dicom(output: Path, sources: Sequence[Path]) -> int:
    """Write the DICOM objects of a cohort or study; return how many results have none.

    Each of these is named with the reason.
    """
    from echoseg.dicom.write import write_study_dicom

    failed = count = 0
    for written in write_study_dicom(output, sources):
        count += 1
        if written.reason:
            failed += 1
            fail(f"{written.folder.name}: no DICOM objects: {written.reason}")
    typer.echo(public(f"DICOM objects of {count - failed} of {count} results in {output}/*/dicom"))
    return failed


def _run_job(analyzer: "Analyzer", job: Job, *, timing: bool) -> str:
    """Run one job; return the kind of its EF, or `failed`. Errors are printed on one line."""
    try:
        ef, stages = (_run_pair if len(job.sources) == 2 else _run_clip)(analyzer, job)
    except EchosegError as error:
        fail(str(error))
        return "failed"
    if timing:
        typer.echo("time per stage:")
        for stage, seconds in stages.items():
            typer.echo(f"  {stage:<16}{seconds:8.2f} s")
    return ef.kind


def run(
    jobs: Sequence[Job],
    *,
    model: str,
    device: str,
    timing: bool,
    backend: str = "torch",
    failures: tuple[str, ...] = ("none", "unreliable"),
) -> None:
    """Load the model once, run every job; exit with 1 if an EF is of the kinds of failures."""
    start = time.perf_counter()
    from echoseg.inference.analyzer import Analyzer

    analyzer = Analyzer(model, device, backend)
    if timing:
        typer.echo(f"imports and model: {time.perf_counter() - start:.2f} s")
    show_notice(analyzer.model_card)
    kinds = [_run_job(analyzer, job, timing=timing) for job in jobs]
    if len(jobs) > 1:
        withheld, none, failed = map(kinds.count, ("unreliable", "none", "failed"))
        typer.echo(count_efs(len(jobs), withheld=withheld, none=none, failed=failed))
    if {*failures, "failed"} & set(kinds):
        raise typer.Exit(1)


def count_efs(clips: int, *, withheld: int, none: int, failed: int, pending: int = 0) -> str:
    """Say how many clips have an EF, and what became of the others."""
    others = {"not reliable": withheld, "no EF": none, "failed": failed, "pending": pending}
    rest = ", ".join(f"{what}: {number}" for what, number in others.items() if number)
    stated = clips - sum(others.values())
    return f"EF given for {stated} of {clips} clip{'s' * (clips != 1)}{rest and f' ({rest})'}"


def analyze(
    clips: Annotated[
        list[Path] | None,
        typer.Argument(help="Clips: files or folders of frames; or one folder of many clips."),
    ] = None,
    output: Output = Path("echoseg-results"),
    a4c: Annotated[Path | None, input_option(help="A4C clip; with --a2c: biplane.")] = None,
    a2c: Annotated[Path | None, input_option(help="A2C clip of the same heart.")] = None,
    study: Annotated[
        Path | None, input_option(help="Folder of a study: its best A4C and A2C clip, biplane.")
    ] = None,
    view: ViewGiven = None,
    force_view: ForceView = False,
    spacing_mm: SpacingMm = None,
    fps: Fps = None,
    smoothing: Smoothing = True,
    pdf: Pdf = False,
    dicom: Dicom = False,
    private: Private = False,
    private_key: PrivateKey = None,
    force: Force = False,
    keep: Keep = False,
    allow_damaged: AllowDamaged = False,
    max_decoded: MaxDecoded = 2.0,
    allow_outside: AllowOutside = False,
    jobs: Annotated[
        int | None, cohort_option(help="Worker processes for many clips (default: number of CPUs).")
    ] = None,
    resume: Annotated[bool, cohort_option("--resume", help="Resume a cohort or study.")] = False,
    retry_failed: Annotated[
        bool, cohort_option("--retry-failed", help="Resume a cohort; try failed clips again too.")
    ] = False,
    shard: Annotated[
        str | None,
        cohort_option(
            help="Analyze part I of N of a cohort, such as 3/8; see echoseg cohort merge.",
            metavar="I/N",
        ),
    ] = None,
    engine: Annotated[
        str | None, cohort_option(help="Analyze a cohort on a cluster: dask.", metavar="dask")
    ] = None,
    scheduler: Annotated[
        str | None,
        cohort_option(
            help="Address or scheduler file of the cluster (default: DASK_SCHEDULER_ADDRESS)."
        ),
    ] = None,
    clip_timeout: Annotated[
        float | None,
        cohort_option(help="Seconds that a clip of a cohort may take (default: 600).", min=1),
    ] = None,
    clip_memory: Annotated[
        float | None,
        cohort_option(help="Memory that a clip of a cohort may take, GB (default: 4).", min=0.1),
    ] = None,
    pages: Annotated[
        bool,
        output_option(
            "--pages/--no-pages",
            help="Write the overlay video, volume curve and HTML report for each clip.",
        ),
    ] = True,
    device: Device = "auto",
    model: Model = "camus",
    backend: BackendName = "auto",
    quiet: Quiet = False,
    timing: Timing = False,
) -> None:
    """Segment and measure clips: masks, overlay video, volume curve, EF, report.

    A folder of many clips, --jobs or --resume make a cohort: one result folder per clip, and
    results.csv, failures.csv and not_clips.csv for all. --study sorts the clips of a folder by view
    and writes study.csv. Exit codes: 0 every clip has an EF, of a cohort or study: none failed; 1
    otherwise; 2 invalid options, or an output folder that cannot be written.
    """
    from echoseg.cli.cohort import given_engine, given_options, given_shard, is_remote
    from echoseg.files import ANOTHER_FOLDER, check_writable
    from echoseg.io.frames import OpenOptions
    from echoseg.report.writer import result_folder_names

    options: dict[str, Any] = dict(view=view, spacing_mm=spacing_mm, fps=fps)
    options |= dict(allow_damaged=allow_damaged, allow_outside=allow_outside)
    options["max_decoded_gib"] = max_decoded
    names = start_private(private, private_key, output)
    known: dict[str, Any] = dict(open_options=options, names=names, force=replacing(force, keep))
    known |= dict(smoothing=smoothing, force_view=force_view, pdf=pdf or dicom)
    OpenOptions(**options)
    _check_inputs(clips or [], a4c, a2c, study)
    run_options = given_options(jobs, resume, retry_failed, clip_timeout, clip_memory)
    run_options |= given_shard(shard, study) | given_engine(engine, scheduler, jobs, study)
    settings = dict(known, device=device, model=model, backend=backend, pages=pages, dicom=dicom)
    if (study or a4c or a2c) and is_remote(*filter(None, (study, a4c, a2c, output))):
        raise ConfigError("--study, --a4c and --a2c take local files and folders; copy them first")
    if study is not None:
        if view is not None or not pages:
            raise ConfigError("--view and --no-pages do not apply to --study; leave them out")
        chosen_backend(backend, model, device, quiet=quiet, num_threads=1)
        from echoseg.cli.study import run_study

        return run_study(study, settings, output, run_options)
    if clips and (run_options or is_remote(*clips, output) or _are_many(clips)):
        from echoseg.cli.cohort import run_cohort

        chosen_backend(backend, model, device, quiet=quiet, num_threads=1)
        return run_cohort(clips, settings, output, run_options)
    is_pair = a4c is not None and a2c is not None
    if is_pair and (run_options or not pages):
        raise ConfigError(
            "options of cohorts (--jobs, --resume, ...) and --no-pages do not apply to two views; "
            "give CLIPS"
        )
    check_writable(output, ANOTHER_FOLDER)
    sources = [(a4c, a2c)] if a4c and a2c else [(clip,) for clip in clips or []]
    aliases = clips or [] if names is None else [Path(names.name(clip)) for clip in clips or []]
    folders = result_folder_names([Path("biplane")] if is_pair else aliases)
    runs = [
        Job(sources=some, folder=output / name, pages=pages, dicom=dicom, **known)
        for some, name in zip(sources, folders, strict=True)
    ]
    if all(refusals := [_refusal(job) for job in runs]):  # before the network is loaded
        for refusal in refusals:
            fail(refusal)
        raise typer.Exit(1)
    backend = chosen_backend(backend, model, device, quiet=quiet)
    run(runs, model=model, device=device, backend=backend, timing=timing)


def _refusal(job: Job) -> str:
    """Why a job cannot begin; empty where it can."""
    from echoseg.report.writer import PLANES, check_output

    if missing := next((path for path in job.sources if not os.path.exists(path)), None):
        option = "" if len(job.sources) == 1 else f"--{PLANES[job.sources.index(missing)].lower()} "
        return f"{option}{missing}: no such file or folder"
    try:
        check_output(job.folder, job.force)
    except EchosegError as error:
        return str(error)
    return ""


def _are_many(clips: Sequence[Path]) -> bool:
    """Whether a folder of clips is given; a missing clip fails alone, the others are analyzed."""
    from echoseg.report.cohort import is_clip

    return not all(map(is_clip, filter(os.path.exists, clips)))


def _check_inputs(
    clips: list[Path], a4c: Path | None, a2c: Path | None, study: Path | None
) -> None:
    """Check that the inputs are exactly one of the three kinds."""
    if bool(clips) + (study is not None) + (a4c is not None or a2c is not None) != 1:
        raise ConfigError(
            "give CLIPS, or --a4c with --a2c, or --study FOLDER, one of the three; "
            "see echoseg analyze --help"
        )
    if (a4c is None) != (a2c is None):
        raise ConfigError("--a4c and --a2c must be given together")
