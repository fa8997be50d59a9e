"""Results of a simulated heart whose source is DICOM, for the writers of DICOM objects."""

from dataclasses import replace

import numpy as np
import pydicom

from echoseg.clip import Clip, View
from echoseg.inference.analysis import analyze_masks
from echoseg.io import dicom_writer, load_clip
from echoseg.quality.reliability import ClipReliability, ClipUncertainty, EfInterval
from echoseg.report.biplane import BiplaneAnalysis
from echoseg.report.writer import write_biplane, write_results
from echoseg.weights.card import ModelCard
from heart_makers import beating

MODEL = ModelCard(
    architecture="mssnet",
    image_size=160,
    licence="none",
    name="unit",
    sha256="ab" * 32,
    views=(View.A4C, View.A2C),
)
NAME, PATIENT_ID = "Grün^Ælfgifu", "PID-7 4"
NO_DOUBT = ClipUncertainty(entropy=0.1, pose_points=1.0, gamma_percent=1.0, segments_unseen=0.0)


def reliability(*reasons):
    interval = EfInterval(
        low_percent=40.0,
        high_percent=70.0,
        level_percent=90.0,
        expected_error_points=5.0,
        source="phantom",
    )
    return ClipReliability(
        interval=interval,
        uncertainty=NO_DOUBT,
        lv_outside_sector_percent=0.0,
        unreliable_because=reasons,
    )


def write_source(path, *, num_frames=60, charset="ISO_IR 100", view=View.A4C, **elements):
    """Write a clip of a named patient; returns its masks."""
    masks, times_s, _ = beating(num_frames, phase=0.5)
    noise = np.random.default_rng(0).integers(0, 30, masks.shape, np.uint8)
    frames = np.array([10, 40, 110, 70], np.uint8)[masks] + noise
    clip = Clip(frames=frames, times_s=times_s, spacing_mm=(1.001, 1.001), view=view)
    dicom_writer.write(path, clip)
    dataset = pydicom.dcmread(path)
    dataset.SpecificCharacterSet = charset
    dataset.PatientName, dataset.PatientID, dataset.PatientSex = NAME, PATIENT_ID, "F"
    dataset.StudyDate, dataset.AccessionNumber = "20260102", "A-99"
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.save_as(path)
    return masks


def write_result(folder, source, masks, *, model=MODEL, reasons=(), pdf=False):
    """Measure masks of a source and write the result folder, as if a network had made them."""
    analysis = analyze_masks(load_clip(source), masks)
    if model is not None:
        analysis = replace(analysis, model=model, reliability=reliability(*reasons))
    write_results(analysis, folder, pages=pdf, pdf=pdf)
    return analysis


def write_heart(folder, *, reasons=(), pdf=False, a2c_elements=None):
    """Write an A4C and an A2C clip of one study and their biplane result `folder / "heart"`.

    Returns both clips; `reasons` are why the A2C plane's EF is not reliable.
    """
    clips, analyses = [], []
    for number, view in enumerate((View.A4C, View.A2C), start=1):
        path = folder / f"{view}.dcm"
        uids = {"StudyInstanceUID": "1.2.30", "SeriesInstanceUID": "1.2.30.1"}
        uids["SOPInstanceUID"] = f"1.2.30.1.{number}"
        extra = (a2c_elements or {}) if view == View.A2C else {}
        masks = write_source(path, view=view, **uids | extra)
        analysis = replace(
            analyze_masks(load_clip(path), masks),
            model=MODEL,
            reliability=reliability(*(reasons if view == View.A2C else ())),
        )
        clips.append(path)
        analyses.append(analysis)
    heart = BiplaneAnalysis(a4c=analyses[0], a2c=analyses[1])
    write_biplane(heart, folder / "heart", pdf=pdf)
    return clips
