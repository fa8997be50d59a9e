"""Write phantom clips in the layouts of real data.

Layouts: `avi` (MJPEG and masks), `nifti`, `dicom`, `camus` and `echonet` (the folders of CAMUS and
EchoNet-Dynamic). In each, `truth.csv` has one row per frame and `phantom.json` the parameters of
each clip. `camus` and `echonet` have one ED and one ES frame per clip: those of the complete beat
with the largest stroke volume, where there is one. `phantom.json` lists them under `labelled`,
counted from the clip's first frame, with CAMUS's patient.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from echoseg.clip import View
from echoseg.data import camus_writer as camus_layout
from echoseg.data import echonet_writer as echonet_dynamic_layout
from echoseg.data.phantom import SimulatedClip, name_of, simulate_all
from echoseg.errors import ConfigError
from echoseg.files import OwnedFolder, Replace, csv_text, write_mark, write_text
from echoseg.io import dicom_writer, nifti
from echoseg.io.video import write_mjpeg
from echoseg.phantom import PhantomConfig

LAYOUTS = ("avi", "nifti", "dicom", "camus", "echonet")
TRUTH_COLUMNS = (
    "clip", "frame", "time_s", "beat", "contraction", "volume_ml", "disk_volume_ml",
    "strain_percent", "hinge_left_x_px", "hinge_left_y_px", "hinge_right_x_px",
    "hinge_right_y_px", "apex_x_px", "apex_y_px",
)  # fmt: skip
MARK = "phantom.json"
"""File that marks a folder written here."""
_ONE_BEAT = ("camus", "echonet")

Progress = Callable[[int, int], None]


def write(
    root: str | Path,
    configs: list[PhantomConfig],
    layout: str,
    *,
    num_processes: int = 1,
    force: Replace = False,
    progress: Progress = lambda done, total: None,
) -> None:
    """Simulate clips and write them to a folder, atomically.

    Args:
        root: Folder to be made.
        configs: The clips; in the layout `camus` one patient per seed, with both views.
        layout: One of `LAYOUTS`.
        num_processes: Worker processes; the files do not depend on it.
        force: Replace a folder that is as echoseg wrote it; "keep": move it aside.
        progress: Called with (clips done, all clips).

    Raises:
        ConfigError: If layout, views or a heart are not possible, or two clips have one name.
        OutputError: If the folder exists and is not to be replaced, or cannot be written.
    """
    root = Path(root)
    if layout not in LAYOUTS:
        raise ConfigError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    configs = _for_layout(configs, layout)
    _check_names(configs)
    place = OwnedFolder(root, MARK, force)
    place.check()
    rows: list[tuple[object, ...]] = []
    recipes: dict[str, dict[str, Any]] = {}

    def simulated() -> Iterator[SimulatedClip]:
        for index, one in enumerate(simulate_all(configs, num_processes)):
            written = _of_one_beat(one) if layout in _ONE_BEAT else one
            rows.extend(_truth_rows(one))
            recipes[one.name] = _recipe(one) | _labelled(written, index, layout)
            progress(index + 1, len(configs))
            yield written

    try:
        with place.write() as folder:
            _WRITERS[layout](folder, simulated())
            write_text(folder / "truth.csv", csv_text(TRUTH_COLUMNS, rows))
            write_mark(folder, MARK, lambda files: _document(layout, recipes, files))
    except ValueError as error:  # raised by the writer of the layout
        raise ConfigError(
            f"the {layout} layout cannot hold this clip: {error}; give more frames, or another "
            "layout"
        ) from error


def _check_names(configs: list[PhantomConfig]) -> None:
    if not configs:
        raise ConfigError("configs must hold at least one clip, got none")
    names: set[str] = set()
    for name in map(name_of, configs):
        if name in names:
            raise ConfigError(
                f"clips must differ in seed, view or tier, which name their files; {name} occurs "
                "twice; write the second into another folder"
            )
        names.add(name)


def _of_one_beat(one: SimulatedClip) -> SimulatedClip:
    """Take ED and ES of the complete beat with the largest stroke volume, if there is one."""
    volume_ml = one.truth.volume_ml
    if not one.truth.beats:
        return one
    ed_frame, es_frame = max(
        one.truth.beats, key=lambda beat: volume_ml[beat[0]] - volume_ml[beat[1]]
    )
    edv_ml, esv_ml = float(volume_ml[ed_frame]), float(volume_ml[es_frame])
    annotation = replace(
        one.annotation,
        ed_frame=ed_frame,
        es_frame=es_frame,
        ef_percent=100 * (1 - esv_ml / edv_ml),
        edv_ml=edv_ml,
        esv_ml=esv_ml,
    )
    return replace(one, annotation=annotation)


def _for_layout(configs: list[PhantomConfig], layout: str) -> list[PhantomConfig]:
    """The clips to simulate; CAMUS has both views of each patient."""
    if (lowest := min((config.num_frames for config in configs), default=2)) < 2:
        raise ConfigError(
            f"num_frames must be at least 2, which a clip in a file needs, got {lowest}"
        )
    if layout == "echonet" and any(config.view is not View.A4C for config in configs):
        raise ConfigError("view must be A4C in the echonet layout, which has no other")
    if layout != "camus":
        return configs
    if any(config.view not in (View.A4C, View.A2C) for config in configs):
        raise ConfigError("view must be A4C or A2C in the camus layout, which has both of each")
    if len(configs) > 9999:
        raise ConfigError(f"num_clips must be at most 9999 patients in camus, got {len(configs)}")
    return [config.changed(view=view) for config in configs for view in (View.A4C, View.A2C)]


def _write_files(
    root: Path,
    clips: Iterable[SimulatedClip],
    suffix: str,
    write_clip: Callable[[Path, SimulatedClip], None],
) -> None:
    """Write each clip as one file, with its masks."""
    for one in clips:
        write_clip(root / f"{one.name}.{suffix}", one)
        path = root / f"{one.name}_masks.nii.gz"
        nifti.write_masks(path, one.annotation.masks, one.clip.spacing_mm, 1 / _rate_hz(one))


def _rate_hz(one: SimulatedClip) -> float:
    return one.clip.frame_rate_hz or 30.0


def _write_avi(path: Path, one: SimulatedClip) -> None:
    write_mjpeg(path, one.clip.frames, _rate_hz(one))


def _write_nifti(path: Path, one: SimulatedClip) -> None:
    nifti.write_clip(path, one.clip)


def _write_dicom(path: Path, one: SimulatedClip) -> None:
    dicom_writer.write(path, one.clip, pseudonym=f"PHANTOM{one.config.seed:06d}")


def _write_camus(root: Path, clips: Iterable[SimulatedClip]) -> None:
    """Write patients of two views; of ten eight train, one validates, one tests, as in CAMUS."""
    splits: dict[str, list[str]] = {name: [] for name in camus_layout.SPLITS}
    clips = iter(clips)
    for number, pair in enumerate(zip(clips, clips, strict=True)):
        patient = _patient(number)
        views = {part.config.view: (part.clip, part.annotation) for part in pair}
        camus_layout.write_patient(root, patient, views)
        splits[{8: "validation", 9: "testing"}.get(number % 10, "training")].append(patient)
    camus_layout.write_splits(root, splits)


def _patient(number: int) -> str:
    """Name of a patient, counted from 0."""
    return f"patient{number + 1:04d}"


def _write_echonet(root: Path, clips: Iterable[SimulatedClip]) -> None:
    splits = ("TRAIN",) * 8 + ("VAL", "TEST")
    items = ((one.name, one.clip, one.annotation, splits[i % 10]) for i, one in enumerate(clips))
    echonet_dynamic_layout.write_dataset(root, items)


_WRITERS = {
    "avi": partial(_write_files, suffix="avi", write_clip=_write_avi),
    "nifti": partial(_write_files, suffix="nii.gz", write_clip=_write_nifti),
    "dicom": partial(_write_files, suffix="dcm", write_clip=_write_dicom),
    "camus": _write_camus,
    "echonet": _write_echonet,
}


def _truth_rows(one: SimulatedClip) -> Iterator[tuple[object, ...]]:
    """A clip's rows of the ground truth table."""
    true = one.truth
    for frame in range(len(true.times_s)):
        values = (
            true.contraction[frame], true.volume_ml[frame], true.disk_volume_ml[frame],
            true.strain_percent[frame], *true.hinges_px[frame].ravel(), *true.apex_px[frame],
        )  # fmt: skip
        start = (one.name, frame, f"{true.times_s[frame]:.6f}", int(true.beat_index[frame]))
        yield (*start, *(f"{value:.4f}" for value in values))


def _recipe(one: SimulatedClip) -> dict[str, Any]:
    """Parameters and ground truth of a clip."""
    true, still = one.truth, one.annotation.es_frame is None
    return one.config.model_dump() | {
        "spacing_mm": true.spacing_mm,
        "ed_frame": true.ed_frame,
        "es_frame": true.es_frame,
        "true_ef_percent": None if still else round(true.ef_percent, 3),
        "beats": true.beats,
        "r_peaks_s": [round(float(t), 5) for t in true.r_peaks_s],
        "premature": [bool(x) for x in true.premature],
        "foreshortening_deg": round(true.foreshortening_deg, 3),
    }


def _labelled(written: SimulatedClip, index: int, layout: str) -> dict[str, Any]:
    """Values of a clip in the layout's own files, where they differ."""
    if layout not in _ONE_BEAT:
        return {}
    truth = written.annotation
    ef_percent = None if truth.ef_percent is None else round(truth.ef_percent, 3)
    phases = {"ed_frame": truth.ed_frame, "es_frame": truth.es_frame, "ef_percent": ef_percent}
    patient = {"patient": _patient(index // 2)} if layout == "camus" else {}
    return {"labelled": patient | phases}


def _document(layout: str, clips: dict[str, dict[str, Any]], files: dict[str, str]) -> str:
    from echoseg.phantom.benchmark import PHANTOM_VERSION

    return json.dumps(
        {
            "note": "simulated hearts; research use only, not a medical device",
            "phantom_version": PHANTOM_VERSION,
            "layout": layout,
            "clips": clips,
            "files": files,
        },
        indent=1,
    )
