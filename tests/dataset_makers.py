"""Tiny faithful copies of each data set's layout, one maker a data set, with made-up hearts."""

import csv
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clip_makers import moving_frames, write_metaimage, write_video
from echoseg.clip import Annotation, Clip, Label, View
from echoseg.data import (
    camus_writer as camus_layout,
)
from echoseg.data import (
    echonet_writer as echonet_dynamic_layout,
)
from echoseg.data import (
    load_dataset,
)
from echoseg.data.cache import prepare
from echoseg.io.nifti import write_masks

NUM_FRAMES, ROWS, COLUMNS = 6, 64, 48
SPACING_MM = (0.4, 0.7)
SEEDS = itertools.count()
"""No two clips of a data set are the same."""


@dataclass(frozen=True)
class Copy:
    """A copy and what a reader must find in it."""

    root: Path
    names: list[str]
    splits: dict[str, int]
    labelled: bool = True


def beating_masks(es_frame=4, num_frames=NUM_FRAMES, rows=ROWS, columns=COLUMNS):
    """A cavity in its wall over an atrium; the cavity is smallest at `es_frame`."""
    y, x = np.mgrid[:rows, :columns]
    masks = np.zeros((num_frames, rows, columns), np.uint8)
    for index, mask in enumerate(masks):
        radius = 8 + abs(index - es_frame)
        distance = np.hypot((x - columns / 2) / radius, (y - rows / 2) / (1.6 * radius))
        mask[distance < 1.4] = Label.LV_MYOCARDIUM
        mask[(distance < 1.4) & (y > rows / 2 + radius)] = Label.LA_CAVITY
        mask[(distance < 1) & (y <= rows / 2 + radius)] = Label.LV_CAVITY
    return masks


def made_clip(ed_frame=0, es_frame=4, **known):
    """A clip whose greys are its labels, noisy as no other clip is, and its annotation."""
    masks = beating_masks(es_frame)
    noise = np.random.default_rng(next(SEEDS)).integers(0, 20, masks.shape)
    frames = (masks * 60 + noise).astype(np.uint8)
    clip = Clip(frames=frames, times_s=np.arange(len(frames)) / 25, spacing_mm=SPACING_MM)
    values = {"ef_percent": 50.0, "quality": "Good"} | known
    return clip, Annotation(masks=masks, ed_frame=ed_frame, es_frame=es_frame, **values)


def make_camus(root):
    """Two views each; the third patient's sequences run from ES to ED."""
    names = [f"patient000{i}" for i in (1, 2, 3)]
    for seed, name in enumerate(names):
        phases = {"ed_frame": 4, "es_frame": 0} if seed == 2 else {}
        views = {view: made_clip(**phases) for view in (View.A2C, View.A4C)}
        camus_layout.write_patient(root, name, views)
    camus_layout.write_splits(
        root, dict(zip(camus_layout.SPLITS, [names[:1], names[1:2], names[2:]], strict=True))
    )
    found = [f"{name}_{view}" for name in names for view in ("2CH", "4CH")]
    return Copy(root, found, {"train": 2, "validation": 2, "test": 2})


def write_mhd(path, frames):
    write_metaimage(path, frames, SPACING_MM)


def make_camus_mhd(root):
    """One training and one testing patient, both numbered 1; testing has no masks."""
    names = []
    for split in ("training", "testing"):
        folder = root / split / "patient0001"
        folder.mkdir(parents=True)
        for view in ("2CH", "4CH"):
            names.append(f"{split}_patient0001_{view}")
            clip, known = made_clip()
            write_mhd(folder / f"patient0001_{view}_sequence.mhd", clip.frames[:5])
            for phase, frame in (("ED", 0), ("ES", 4)):
                stem = folder / f"patient0001_{view}_{phase}"
                write_mhd(Path(f"{stem}.mhd"), clip.frames[frame][None])
                if split == "training":
                    write_mhd(Path(f"{stem}_gt.mhd"), known.masks[frame][None])
            (folder / f"Info_{view}.cfg").write_text(
                "ED: 1\nES: 5\nNbFrame: 5\nSex: F\nAge: 60\nImageQuality: Medium\n"
                "LVedv: 100.1\nLVesv: 50.05\nLVef: 50.0\n"
            )
    return Copy(root, names, {"train": 2, "test": 2})


def make_ted(root):
    for number in (1, 98):
        folder = root / "database" / f"patient{number:03d}"
        folder.mkdir(parents=True)
        clip, known = made_clip()
        stem = folder / f"{folder.name}_4CH"
        write_mhd(Path(f"{stem}_sequence.mhd"), clip.frames)
        write_mhd(Path(f"{stem}_sequence_gt.mhd"), known.masks)
        Path(f"{stem}_info.cfg").write_text(
            "ED: 1\nES: 5\nNbFrame: 6\nSex: M\nAge: 50\nImageQuality: Good\nEF: 50\n"
        )
    return Copy(root, ["patient001_4CH", "patient098_4CH"], {"": 2})


def make_echonet_dynamic(root):
    items = []
    for split in ("TRAIN", "VAL", "TEST"):
        clip, known = made_clip()
        bare = Clip(frames=clip.frames, times_s=clip.times_s)
        cavity = np.where(known.masks == Label.LV_CAVITY, known.masks, 0)
        traced = Annotation(masks=cavity, ed_frame=0, es_frame=4, ef_percent=50.0)
        items.append((f"0X{split}", bare, traced, split))
    echonet_dynamic_layout.write_dataset(root, items)
    return Copy(root, ["0XTRAIN", "0XVAL", "0XTEST"], {"train": 1, "validation": 1, "test": 1})


def moving(rows, columns):
    return np.roll(moving_frames(NUM_FRAMES, rows, columns), 5 * next(SEEDS), 2)


def write_csv(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def make_echonet_pediatric(root):
    """In the second clip of a view systole is not traced, and one point is empty."""
    home, names = root / "pediatric_echo_avi" / "pediatric_echo_avi", []
    circle = np.linspace(0, 2 * np.pi, 20)
    for view in ("A4C", "PSAX"):
        (home / view / "Videos").mkdir(parents=True)
        listed, points = [], []
        for number in (1, 2):
            name = f"CR{number}-CR{number}-00003{number}"
            names.append(f"{view}_{name}")
            write_video(home / view / "Videos" / f"{name}.avi", moving(112, 112))
            listed.append([f"{name}.avi", 60, "F", 4, 17.2, 101, number])
            for frame, radius in ((1, 30), (4, 20)):
                said = "No Systolic" if number == 2 and frame == 4 else frame
                xy = np.stack([56 + radius * np.cos(circle), 56 + radius * np.sin(circle)], 1)
                points += [[f"{name}.avi", x, y, said] for x, y in xy]
        points.append([f"{name}.avi", "", "", 1])
        header = ["FileName", "EF", "Sex", "Age", "Weight", "Height", "Split"]
        write_csv(home / view / "FileList.csv", header, listed)
        write_csv(home / view / "VolumeTracings.csv", ["FileName", "X", "Y", "Frame"], points)
    return Copy(root, names, {"fold1": 2, "fold2": 2})


def make_echonet_lvh(root):
    """Two callipers a clip, in two batches."""
    rows = []
    for batch, name, split in ((1, "0XLA", "train"), (4, "0XLB", "val"), (4, "0XLC", "test")):
        folder = root / f"Batch{batch}"
        folder.mkdir(parents=True, exist_ok=True)
        write_video(folder / f"{name}.avi", moving(64, 96))
        rows += [[name, calc, 1.1, split] for calc in ("LVIDd", "IVSd")]
    header = ["HashedFileName", "Calc", "CalcValue", "split"]
    write_csv(root / "MeasurementsList.csv", header, rows)
    splits = {"train": 1, "validation": 1, "test": 1}
    return Copy(root, ["0XLA", "0XLB", "0XLC"], splits, labelled=False)


def make_phantom(root):
    from echoseg.data import phantom_writer as phantom_layout
    from echoseg.phantom import PhantomConfig

    configs = [PhantomConfig(seed=s, size_px=64, num_frames=6, frame_rate_hz=6) for s in (1, 2)]
    phantom_layout.write(root, configs, "nifti")
    return Copy(root, ["phantom000001_A4C_medium", "phantom000002_A4C_medium"], {"": 2})


def make_custom(root):
    """A folder with a space and an accent in its name, a clip in a format each, masks beside."""
    folder = root / "Jörg s clips"
    folder.mkdir(parents=True)
    for name in ("a b", "é"):
        clip, known = made_clip()
        write_video(folder / f"{name}.avi", clip.frames)
        write_masks(folder / f"{name}_masks.nii.gz", known.masks, SPACING_MM, 0.04)
    return Copy(root, ["Jörg s clips/a b.avi", "Jörg s clips/é.avi"], {"": 2})


def make_cache(root):
    """What `echoseg data prepare` makes of EchoNet-Dynamic's layout."""
    made = make_echonet_dynamic(root.with_name(f"{root.name}-source"))
    prepare(load_dataset(made.root), root, 112)
    return Copy(root, made.names, made.splits)


MAKERS = {
    "camus": make_camus,
    "camus_mhd": make_camus_mhd,
    "ted": make_ted,
    "echonet_dynamic": make_echonet_dynamic,
    "echonet_pediatric": make_echonet_pediatric,
    "echonet_lvh": make_echonet_lvh,
    "phantom": make_phantom,
    "cache": make_cache,
    "custom": make_custom,
}
