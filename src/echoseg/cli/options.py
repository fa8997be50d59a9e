"""Options that several commands share."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoseg.cli.console import one_line
from echoseg.clip import View
from echoseg.errors import ConfigError

if TYPE_CHECKING:
    from echoseg.files import Replace

input_option, output_option, model_option, cohort_option = (
    partial(typer.Option, rich_help_panel=group) for group in ("Input", "Output", "Model", "Cohort")
)
"""Options in a group of a command's help."""

ModelGiven = Annotated[
    str, typer.Argument(help="Name (see `echoseg models`) or .safetensors file.")
]
Data = Annotated[
    Path | None, typer.Argument(help="Folder of a data set or of clips with masks, or a CSV.")
]
Tiers = Annotated[
    list[str] | None,
    typer.Option(help="Instead of DATA: phantom-v2 tier (easy ... extreme, all); repeatable."),
]
Hearts = Annotated[int | None, typer.Option(help="Number of phantom hearts per tier.")]
Jobs = Annotated[int, typer.Option(help="Worker processes; do not affect the result.")]
ViewGiven = Annotated[
    View | None, input_option("--view", case_sensitive=False, help="View; replaces the file's.")
]
ForceView = Annotated[
    bool,
    input_option("--force-view", help="Give an EF, not a reliable one, of a view not supported."),
]
SpacingMm = Annotated[
    tuple[float, float] | None,
    input_option(
        "--spacing-mm",
        help="Pixel spacing in mm, 0.001 to 10; replaces the file's.",
        metavar="ROW COL",
    ),
]
Fps = Annotated[
    float | None, input_option("--fps", help="Frames per second, 1 to 10000; replaces the file's.")
]
MaxDecoded = Annotated[
    float,
    input_option("--max-decoded", help="Limit of frames x pixels of a clip, GiB.", metavar="GIB"),
]
AllowDamaged = Annotated[
    bool, input_option("--allow-damaged", help="Use the readable frames of damaged files.")
]
AllowOutside = Annotated[
    bool,
    input_option("--allow-outside", help="Let a file name another outside of its folder."),
]
Smoothing = Annotated[
    bool,
    typer.Option(
        "--smoothing/--no-smoothing", help="Take volumes from the smoothed curve, or single frames."
    ),
]
Output = Annotated[
    Path, output_option("--output", "-o", help="Output folder; every clip gets a folder in it.")
]
Force = Annotated[
    bool, output_option("--force", help="Replace results, if they are as echoseg wrote them.")
]
Keep = Annotated[
    bool, output_option("--keep", help="With --force: move what is there aside, whatever it is.")
]
ForceFile = Annotated[
    bool, output_option("--force", help="Replace the file, if it is as echoseg wrote it.")
]
KeepFile = Annotated[
    bool, output_option("--keep", help="With --force: move a file that is there aside.")
]
Private = Annotated[
    bool,
    output_option(
        "--private",
        help="Hashes in place of names of files and folders, and pictures black outside the "
        "sector, in everything that is written or printed.",
    ),
]
PrivateKey = Annotated[
    Path | None,
    output_option(
        "--private-key",
        help="Key file of the hashes, made if missing (default: ECHOSEG_KEY, or private.key in "
        "the user's config folder); implies --private.",
    ),
]
Device = Annotated[str, model_option(help="auto, cpu, cuda or mps.")]
Model = Annotated[str, model_option(help="Name (see `echoseg models`) or .safetensors file.")]
Pdf = Annotated[bool, output_option("--pdf", help="Write report.pdf too.")]
Dicom = Annotated[
    bool,
    output_option(
        "--dicom",
        help="Write DICOM objects of the source's patient and study too, in the folder dicom; "
        "implies --pdf. They keep the source's identity, with --private too.",
    ),
]
Timing = Annotated[bool, typer.Option("--timing", help="Print the time per stage.")]


def demo_clips() -> dict[str, Path]:
    """The two clips that come with the installation: a simulated one, and the one of pydicom."""
    from pydicom import examples

    import echoseg.weights

    return {
        "simulated": Path(echoseg.weights.__file__).with_name("simulated_a4c.dcm"),
        "ybr_color": Path(str(examples.get_path("ybr_color"))),
    }


def replacing(force: bool, keep: bool) -> "Replace":
    """What --force and --keep say of an earlier result.

    Raises:
        ConfigError: If `keep` is given alone.
    """
    if keep and not force:
        raise ConfigError("--keep moves aside what --force would replace; give both")
    return "keep" if keep else force


BackendName = Annotated[
    str,
    model_option(
        "--backend",
        envvar="ECHOSEG_BACKEND",
        help="torch, torch-bf16, torch-compile, torch-compile-bf16, onnx, openvino, openvino-bf16, "
        "or auto: the fastest in full precision.",
    ),
]
Quiet = Annotated[
    bool, model_option("--quiet", help="Do not say which backend was chosen on the first run.")
]


def chosen_backend(
    name: str, model: str, device: str, *, quiet: bool, num_threads: int | None = None
) -> str:
    """The backend that --backend means: `auto` becomes the fastest one of this machine.

    On the first run, which measures it, standard error says what was chosen and why.

    Raises:
        ConfigError: If there is no such backend or device.
        ModelError: If the checkpoint cannot be loaded.
    """
    from echoseg.inference.backends.select import (
        AUTO,
        check_backend,
        choose_device,
        select_backend,
    )

    check_backend(name)
    if name != AUTO:
        return name
    if choose_device(device) != "cpu":
        return "torch"
    import torch

    def say(text: str, *, ends: bool = True) -> None:
        if not quiet:
            typer.echo(one_line(text), nl=ends, err=True)

    choice = select_backend(
        model,
        num_threads=num_threads or torch.get_num_threads(),
        begin=lambda: say("finding the fastest backend, once on this machine ... ", ends=False),
    )
    if choice.time_s:
        say(choice.describe())
    return choice.backend
