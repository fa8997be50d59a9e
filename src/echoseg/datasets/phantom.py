"""The phantom as a data set: clips on the fly, or written in the layouts that real data come in.

Layouts: `avi` (MJPEG with masks beside it), `nifti`, `dicom`, `camus` and `echonet` (the exact
folders of CAMUS and of EchoNet-Dynamic). Whatever the layout, `truth.csv` tells of every frame and
`phantom.json` how each clip was made.
"""

import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np

from echoseg.anatomy import Phase, View
from echoseg.clip import Annotation, Clip
from echoseg.datasets import camus, camus_layout, echonet_dynamic
from echoseg.errors import ConfigError, DatasetError, OutputError
from echoseg.formats import dicom_writer, nifti
from echoseg.formats.video import write_mjpeg
from echoseg.formats.whole import write_text
from echoseg.phantom import Phantom, PhantomConfig, Truth
from echoseg.phantom.statistics import Still

LAYOUTS = ("avi", "nifti", "dicom", "camus", "echonet")
TRUTH_COLUMNS = (
    "clip", "frame", "time_s", "beat", "contraction", "volume_ml", "disk_volume_ml",
    "strain_percent", "hinge_left_x_px", "hinge_left_y_px", "hinge_right_x_px",
    "hinge_right_y_px", "apex_x_px", "apex_y_px",
)  # fmt: skip

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Filmed:
    """A clip of the phantom with all that is true of it."""

    config: PhantomConfig
    clip: Clip
    annotation: Annotation
    truth: Truth

    @property
    def name(self) -> str:
        """Name that is unique to seed, view and tier."""
        config = self.config
        return f"phantom{config.seed:06d}_{config.view}_{config.tier}"


def film(config: PhantomConfig) -> Filmed:
    """Film a clip.

    Raises:
        ConfigError: If the heart cannot reach the ejection fraction asked for.
    """
    phantom = Phantom(config)
    truth = phantom.truth()
    clip = Clip(
        frames=phantom.frames(),
        times_s=truth.times_s,
        spacing_mm=truth.spacing_mm,
        view=config.view,
        r_wave_times_s=tuple(
            float(t) for t in truth.r_peaks_s if 0 <= t <= float(truth.times_s[-1])
        ),
        source=f"phantom seed {config.seed}",
    )
    still = truth.ed_frame == truth.es_frame
    annotation = Annotation(
        masks=truth.masks,
        ed_frame=truth.ed_frame,
        es_frame=None if still else truth.es_frame,
        ef_percent=truth.ef_percent,
        edv_ml=float(truth.volume_ml.max()),
        esv_ml=float(truth.volume_ml.min()),
        quality=str(config.tier),
    )
    return Filmed(config=config, clip=clip, annotation=annotation, truth=truth)


class PhantomClips:
    """Clips on the fly, a map-style data set: item i is the clip of the i-th config.

    Give it to `torch.utils.data.DataLoader` with any number of workers; what item i holds depends
    on its config alone.

    Example:
        >>> clips = PhantomClips([PhantomConfig(seed=s) for s in range(1000)])
        >>> frames, masks = clips[3]  # each `T H W` uint8
    """

    def __init__(self, configs: Iterable[PhantomConfig]) -> None:
        self.configs = tuple(configs)

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.configs)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return frames and masks of one clip, each `T H W` uint8."""
        phantom = Phantom(self.configs[index])
        return phantom.frames(), phantom.masks()


def stills_of(root: Path) -> Iterator[Still]:
    """Yield the annotated ED and ES frames of a data set's training patients, A4C.

    Raises:
        DatasetError: If the folder is neither CAMUS's nor EchoNet-Dynamic's layout.
    """
    if (root / "database_nifti").is_dir():
        for one in camus.stills(root, "training"):
            yield Still(
                picture=one.picture, mask=one.mask, spacing_mm=one.spacing_mm, phase=one.phase
            )
    elif (root / "FileList.csv").is_file():
        for record in echonet_dynamic.read(root).of_split("TRAIN"):
            clip, known = record.load()
            for phase, frame in ((Phase.ED, known.ed_frame), (Phase.ES, known.es_frame)):
                if frame is not None:
                    yield Still(
                        picture=clip.frames[frame],
                        mask=known.masks[frame],
                        spacing_mm=None,
                        phase=phase,
                    )
    else:
        raise DatasetError(
            f"{root} must hold database_nifti (CAMUS) or FileList.csv (EchoNet-Dynamic), it holds "
            "neither; give the folder above them"
        )


def phantom_stills(num_hearts: int, first_seed: int) -> Iterator[Still]:
    """Yield ED and ES of the phantom's A4C at medium tier, as CAMUS has them."""
    for seed in range(first_seed, first_seed + num_hearts):
        config = PhantomConfig(
            seed=seed, size_px=256, num_frames=24, frame_rate_hz=24, overlay=False
        )
        one = film(config)
        phases = ((Phase.ED, one.truth.ed_frame), (Phase.ES, one.truth.es_frame))
        for phase, frame in phases:
            yield Still(
                picture=one.clip.frames[frame],
                mask=one.annotation.masks[frame],
                spacing_mm=one.clip.spacing_mm,
                phase=phase,
            )


def film_all(configs: Iterable[PhantomConfig], num_processes: int = 1) -> Iterator[Filmed]:
    """Film clips in order, in several processes when asked for."""
    if num_processes < 2:
        yield from map(film, configs)
        return
    with ProcessPoolExecutor(num_processes) as pool:
        yield from pool.map(film, configs, chunksize=2)


def write(
    root: Path,
    configs: list[PhantomConfig],
    layout: str,
    *,
    num_processes: int = 1,
    force: bool = False,
    progress: Progress = lambda done, total: None,
) -> None:
    """Film clips and write them, all or nothing: the folder appears when it is whole.

    Args:
        root: Folder to be made.
        configs: The clips; in `camus`'s layout one patient a seed, with both views.
        layout: One of `LAYOUTS`.
        num_processes: Processes that film.
        force: Replace the folder when it exists.
        progress: Told (clips done, clips in all).

    Raises:
        ConfigError: If layout, views or a heart are not possible.
        OutputError: If the folder exists and may not be replaced, or cannot be written.
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    configs = _for_layout(configs, layout)
    if root.exists() and not force:
        raise OutputError(f"{root} exists; choose another folder or replace it with --force")
    partial = root.with_name(f".partial-{os.getpid()}-{root.name}")
    try:
        partial.mkdir(parents=True)
        told: list[Filmed] = []

        def filmed() -> Iterator[Filmed]:
            for done, one in enumerate(film_all(configs, num_processes), 1):
                told.append(replace(one, clip=_THIN, annotation=_thin(one)))
                progress(done, len(configs))
                yield one

        _WRITERS[layout](partial, filmed())
        write_text(partial / "truth.csv", _truth_table(told))
        write_text(partial / "phantom.json", _recipe(told, layout))
        if root.exists():
            shutil.rmtree(root)
        partial.rename(root)
    except ValueError as error:  # the layout's writer says what it cannot hold
        raise ConfigError(f"the {layout} layout cannot hold this clip: {error}") from error
    except OSError as error:
        raise OutputError(f"{root}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


_THIN = Clip(frames=np.zeros((1, 1, 1), np.uint8))
"""Stands for frames that have been written and are not needed any more."""


def _thin(one: Filmed) -> Annotation:
    known = one.annotation
    return replace(known, masks=np.zeros((len(known.masks), 1, 1), np.uint8), labelled_frames=())


def _for_layout(configs: list[PhantomConfig], layout: str) -> list[PhantomConfig]:
    """Return the clips to film; CAMUS has both views of each patient."""
    if layout == "echonet" and any(config.view is not View.A4C for config in configs):
        raise ConfigError("view must be A4C in the echonet layout, which has no other")
    if layout != "camus":
        return configs
    if any(config.view not in (View.A4C, View.A2C) for config in configs):
        raise ConfigError("view must be A4C or A2C in the camus layout, which has both of each")
    if len(configs) > 9999:
        raise ConfigError(f"num_clips must be at most 9999 patients in camus, got {len(configs)}")
    pairs = zip(configs, repeat((View.A4C, View.A2C)), strict=False)
    return [replace(config, view=view) for config, views in pairs for view in views]


def _write_files(
    root: Path, clips: Iterable[Filmed], suffix: str, write_clip: Callable[[Path, Filmed], None]
) -> None:
    """Write each clip as one file with its masks beside it."""
    for one in clips:
        write_clip(root / f"{one.name}.{suffix}", one)
        nifti.write_masks(
            root / f"{one.name}_masks.nii.gz",
            one.annotation.masks,
            one.clip.spacing_mm,
            1 / _rate_hz(one),
        )


def _rate_hz(one: Filmed) -> float:
    return one.clip.frame_rate_hz or 30.0


def _write_avi(root: Path, clips: Iterable[Filmed]) -> None:
    _write_files(
        root, clips, "avi", lambda path, one: write_mjpeg(path, one.clip.frames, _rate_hz(one))
    )


def _write_nifti(root: Path, clips: Iterable[Filmed]) -> None:
    _write_files(root, clips, "nii.gz", lambda path, one: nifti.write_clip(path, one.clip))


def _write_dicom(root: Path, clips: Iterable[Filmed]) -> None:
    def write_clip(path: Path, one: Filmed) -> None:
        dicom_writer.write(path, one.clip, pseudonym=f"PHANTOM{one.config.seed:06d}")

    _write_files(root, clips, "dcm", write_clip)


def _write_camus(root: Path, clips: Iterable[Filmed]) -> None:
    splits: dict[str, list[str]] = {name: [] for name in camus_layout.SPLITS}
    pair: list[Filmed] = []
    number = 0
    for one in clips:
        pair.append(one)
        if len(pair) < 2:
            continue
        number += 1
        patient = f"patient{number:04d}"
        views = {part.config.view: (part.clip, part.annotation) for part in pair}
        camus_layout.write_patient(root, patient, views)
        # of ten patients eight train, one validates, one tests, as in CAMUS
        split = {8: "validation", 9: "testing"}.get((number - 1) % 10, "training")
        splits[split].append(patient)
        pair = []
    camus_layout.write_splits(root, splits)


def _write_echonet(root: Path, clips: Iterable[Filmed]) -> None:
    def items() -> Iterator[echonet_dynamic.Item]:
        for index, one in enumerate(clips):
            split = {8: "VAL", 9: "TEST"}.get(index % 10, "TRAIN")
            yield echonet_dynamic.Item(one.name, one.clip, one.annotation, split)

    echonet_dynamic.write_dataset(root, items())


_WRITERS = {
    "avi": _write_avi,
    "nifti": _write_nifti,
    "dicom": _write_dicom,
    "camus": _write_camus,
    "echonet": _write_echonet,
}


def _truth_table(clips: list[Filmed]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(TRUTH_COLUMNS)
    for one in clips:
        true = one.truth
        for frame in range(len(true.times_s)):
            points = (*true.hinges_px[frame].ravel(), *true.apex_px[frame])
            values = (
                true.contraction[frame], true.volume_ml[frame], true.disk_volume_ml[frame],
                true.strain_percent[frame], *points,
            )  # fmt: skip
            start = (one.name, frame, f"{true.times_s[frame]:.6f}", int(true.beat_index[frame]))
            table.writerow((*start, *(f"{value:.4f}" for value in values)))
    return text.getvalue()


def _recipe(clips: list[Filmed], layout: str) -> str:
    from echoseg.phantom.benchmark import PHANTOM_VERSION

    return json.dumps(
        {
            "note": "simulated hearts; research use only, not a medical device",
            "phantom_version": PHANTOM_VERSION,
            "layout": layout,
            "clips": {
                one.name: asdict(one.config)
                | {
                    "spacing_mm": one.truth.spacing_mm,
                    "ed_frame": one.truth.ed_frame,
                    "es_frame": one.truth.es_frame,
                    "true_ef_percent": round(one.truth.ef_percent, 3),
                    "beats": one.truth.beats,
                    "r_peaks_s": [round(float(t), 5) for t in one.truth.r_peaks_s],
                    "premature": [bool(x) for x in one.truth.premature],
                    "foreshortening_deg": round(one.truth.foreshortening_deg, 3),
                }
                for one in clips
            },
        },
        indent=1,
    )
