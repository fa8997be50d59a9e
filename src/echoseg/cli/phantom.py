"""`echoseg phantom`: simulate clips with ground truth, render one, compare with real data."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoseg.cli.console import progress_bar, show_backup
from echoseg.cli.options import Force, ForceFile, Keep, KeepFile, replacing
from echoseg.clip import View
from echoseg.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from echoseg.phantom import PhantomConfig

app = typer.Typer(
    name="phantom",
    help="Simulate a beating heart of known volume for tests, training and benchmarks. "
    "Research software, not a medical device.",
    no_args_is_help=True,
)

ViewOption = Annotated[View, typer.Option(case_sensitive=False, help="A4C, A2C or ALAX.")]
TierOption = Annotated[str, typer.Option(help="easy, medium, hard or extreme.")]
Seed = Annotated[int, typer.Option(help="Random seed of the (first) heart.")]
Size = Annotated[int, typer.Option(help="Rows and columns of a frame, pixels.")]
Frames = Annotated[int, typer.Option(help="Frames of a clip.")]
Fps = Annotated[float | None, typer.Option(help="Frames per second; random by default.")]
Ef = Annotated[float | None, typer.Option(help="Ejection fraction in percent; random by default.")]
Rhythm = Annotated[
    str | None, typer.Option(help="sinus, atrial_fibrillation or premature; random by default.")
]
Phenotype = Annotated[
    str | None,
    typer.Option(
        help="camus, normal, dilated, hypertrophic, small, ischaemic or dyssynchronous; random "
        "by default."
    ),
]
Style = Annotated[str, typer.Option(help="train, or held_out: ranges not used in training.")]


def _config(**options: Any) -> "PhantomConfig":
    from echoseg.phantom import PhantomConfig

    return PhantomConfig(**options)  # converts names to enum members


@app.command()
def make(
    out: Annotated[Path, typer.Argument(help="Output folder.")],
    num_clips: Annotated[int, typer.Option(help="Clips, one heart each.")] = 10,
    layout: Annotated[str, typer.Option(help="avi, nifti, dicom, camus or echonet.")] = "avi",
    view: ViewOption = View.A4C,
    tier: TierOption = "medium",
    seed: Seed = 0,
    size: Size = 160,
    frames: Frames = 32,
    fps: Fps = None,
    ef: Ef = None,
    rhythm: Rhythm = None,
    phenotype: Phenotype = None,
    style: Style = "train",
    jobs: Annotated[int, typer.Option(help="Worker processes; at most one per clip and CPU.")] = 1,
    force: Force = False,
    keep: Keep = False,
) -> None:
    """Simulate clips with ground truth: masks, volumes, landmarks, phases, beats."""
    from echoseg.data.phantom_writer import MARK, write
    from echoseg.files import OwnedFolder

    if jobs < 1:
        raise ConfigError(f"jobs must be at least 1, got {jobs}")
    first = _config(
        seed=seed, view=view, tier=tier, size_px=size, num_frames=frames, frame_rate_hz=fps,
        ef_percent=ef, rhythm=rhythm, phenotype=phenotype, style=style,
    )  # fmt: skip
    configs, replace = first.next_hearts(num_clips), replacing(force, keep)
    backup = OwnedFolder(out, MARK, replace).check()
    with progress_bar(out.name, "clips") as update:
        write(out, configs, layout, num_processes=jobs, force=replace, progress=update)
    typer.echo(f"{out}: {len(configs)} simulated clips in the {layout} layout, truth.csv")
    show_backup(backup)


@app.command()
def show(
    out: Annotated[Path, typer.Argument(help="Output folder.")] = Path("echoseg-phantom"),
    view: ViewOption = View.A4C,
    tier: TierOption = "medium",
    seed: Seed = 0,
    size: Size = 320,
    frames: Frames = 64,
    fps: Fps = None,
    ef: Ef = None,
    rhythm: Rhythm = None,
    phenotype: Phenotype = None,
    style: Style = "train",
    force: Force = False,
    keep: Keep = False,
) -> None:
    """Render one heart: a montage of all views and tiers, and a video with contours."""
    from echoseg.report.figures.phantom_sheet import write_phantom_show

    config = _config(
        seed=seed, view=view, tier=tier, size_px=size, num_frames=frames, frame_rate_hz=fps,
        ef_percent=ef, rhythm=rhythm, phenotype=phenotype, style=style,
    )  # fmt: skip
    backups = write_phantom_show(config, out, force=replacing(force, keep))
    typer.echo(f"{out / 'sheet.png'} and {out / 'film.mp4'}: seed {seed}, simulated")
    for backup in backups:
        show_backup(backup)


@app.command()
def calibrate(
    dataset: Annotated[
        Path, typer.Argument(help="Folder of CAMUS (NIfTI release) or EchoNet-Dynamic.")
    ],
    hearts: Annotated[int, typer.Option(help="Number of simulated hearts.")] = 100,
    seed: Seed = 500_000,
    view: Annotated[View, typer.Option(case_sensitive=False, help="A4C or A2C.")] = View.A4C,
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "train",
    jobs: Annotated[int, typer.Option(help="Worker processes of the simulation.")] = 1,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the statistics as JSON."),
    ] = None,
    force: ForceFile = False,
    keep: KeepFile = False,
) -> None:
    """Compare a data set with the phantom: contrast along the borders, then shapes and greys."""
    from echoseg.data.phantom import phantom_stills, stills_of
    from echoseg.files import check_new_file, write_owned_text
    from echoseg.phantom.statistics import describe, distance, is_border

    replace = replacing(force, keep)
    backup = check_new_file(output, replace) if output else None
    simulated = phantom_stills(hearts, seed, view, jobs)
    theirs = describe(stills_of(dataset, split, view))
    if not theirs:
        raise DatasetError(f"{dataset} has no annotated {view} frames in its split {split!r}")
    ours = describe(simulated)
    rows = {
        name: (theirs[name], ours[name], distance(ours[name], theirs[name]))
        for name in sorted(theirs.keys() & ours.keys(), key=lambda n: (not is_border(n), n))
    }
    typer.echo(f"{'':56}{'data set':>16}{'phantom':>16}  distance (sd)")
    for name, (one, other, apart) in rows.items():
        numbers = "".join(f"{d.mean:9.2f} +-{d.sd:5.1f}" for d in (one, other))
        typer.echo(f"{name:<56}{numbers}{apart:12.2f}")
    if output is not None:
        document = {
            name: {"data_set": asdict(one), "phantom": asdict(other), "distance_sd": apart}
            for name, (one, other, apart) in rows.items()
        }
        write_owned_text(output, json.dumps(document, indent=1) + "\n", replace)
        show_backup(backup)
