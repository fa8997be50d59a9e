"""Whatever the masks: no exception, no number that is none, an EF or the reason for none.

`benchmarks/broken_masks.py` does the same 10,000 times.
"""

import math
from xml.etree import ElementTree

import pytest

from echoseg.clip import Clip
from echoseg.inference.analysis import Analysis
from echoseg.measure.clean import clean_masks
from echoseg.measure.measure import measure_masks
from echoseg.report.schema import build_report, registry_row
from echoseg.report.writer import write_results
from echoseg.weights.card import ModelCard
from mask_breakers import BREAKERS, broken_case

MODEL = ModelCard(
    name="made-up",
    sha256="0" * 64,
    licence="Apache-2.0",
    architecture="mssnet",
    image_size=160,
)


def analysed(seed):
    """The masks of a seed measured, as `analyze_masks` does."""
    masks, told = broken_case(seed)
    clip = Clip(
        frames=60 * masks,
        spacing_mm=told["spacing_mm"],
        times_s=told["times_s"],
        r_wave_times_s=told["r_wave_times_s"],
    )
    kept = clean_masks(masks)
    return Analysis(clip=clip, masks=kept, measurement=measure_masks(kept, **told), model=MODEL)


def numbers(value):
    """Every float in nested lists and tables."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [number for one in value for number in numbers(one)]
    return [value] if isinstance(value, float) else []


def check(seed):
    """Fail if the seed's masks give a number that is none, or neither EF nor reason."""
    analysis = analysed(seed)
    found = analysis.measurement
    report = build_report(analysis)
    assert (found.ef_percent is None) == bool(found.refusal)
    assert len(found.frames) == len(analysis.masks)
    if found.ef_percent is not None:
        assert 0 <= found.ef_percent <= 100
        assert all(0 <= beat.ef_percent <= 100 for beat in found.beats)
        assert found.edv_ml is None or found.edv_ml >= found.esv_ml >= 0
    rows = [frame.__reduce_ex__(2)[2] for frame in found.frames]
    held = [*numbers(report.model_dump()), *numbers(registry_row(report)), *numbers(rows)]
    assert all(math.isfinite(number) for number in held)
    return found.ef_percent is not None


@pytest.mark.parametrize("kind", range(len(BREAKERS)), ids=[b.__name__ for b in BREAKERS])
def test_broken_masks_give_numbers_or_a_reason(kind):
    for seed in range(kind, 60 * len(BREAKERS), len(BREAKERS)):
        check(seed)


@pytest.mark.parametrize("seed", range(len(BREAKERS)))
def test_broken_masks_can_be_written_and_drawn(tmp_path, seed):
    folder = write_results(analysed(seed), tmp_path / "clip")
    assert "NaN" not in (folder / "report.json").read_text()
    assert "nan" not in (folder / "frames.csv").read_text()
    drawing = (folder / "curve.svg").read_text("utf-8")
    assert ElementTree.fromstring(drawing).tag.endswith("svg") and "nan" not in drawing
