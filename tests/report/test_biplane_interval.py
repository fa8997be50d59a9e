"""The interval of a biplane EF: from both planes' features, with quantiles of its own."""

from types import SimpleNamespace

from calibration_makers import CALM, UNSURE, made, samples
from echoseg.inference.ef_statement import EfStatement
from echoseg.quality.calibration_fit import calibrate
from echoseg.quality.conformal import BIPLANE, ef_interval, mean_uncertainty
from echoseg.report import biplane as module
from echoseg.report.biplane import BiplaneAnalysis


def plane(uncertainty, is_part=False):
    return SimpleNamespace(
        reliability=SimpleNamespace(uncertainty=uncertainty),
        model=SimpleNamespace(path="net", sha256="ab"),
        measurement=SimpleNamespace(is_part_of_beat=is_part),
    )


def interval(monkeypatch, calibration, *planes):
    monkeypatch.setattr(module, "load_calibration", lambda path, sha256: calibration)
    analysis = BiplaneAnalysis(a4c=planes[0], a2c=planes[1])
    analysis.__dict__["biplane"] = SimpleNamespace(ef_percent=50.0)
    return analysis.interval


def test_it_is_that_of_the_mean_features_of_both_planes(monkeypatch):
    from dataclasses import replace

    pairs = [replace(one, view=BIPLANE) for one in samples(100, 1, bias=5.0)]
    calibration = calibrate([*samples(100, 0), *pairs], model_sha256="ab", source="test")
    span = interval(monkeypatch, calibration, plane(CALM), plane(UNSURE))
    both = mean_uncertainty([CALM, UNSURE])
    assert span == ef_interval(50.0, both, calibration, view=BIPLANE)
    part = interval(monkeypatch, calibration, plane(CALM), plane(UNSURE, is_part=True))
    assert part.widened_because == ("The EF rests on part of a beat.",)


def test_without_calibrated_pairs_it_says_so_and_without_a_calibration_there_is_none(monkeypatch):
    span = interval(monkeypatch, made(num=100), plane(CALM), plane(CALM))
    assert span.widened_because[0].startswith("Clips of this view (biplane)")
    assert interval(monkeypatch, None, plane(CALM), plane(CALM)) is None


def test_one_wider_than_the_range_of_patients_makes_the_biplane_ef_unreliable(monkeypatch):
    calibration = made()
    monkeypatch.setattr(module, "load_calibration", lambda path, sha256: calibration)
    for features, reliable in ((CALM, True), (UNSURE, False)):
        planes = [plane(features), plane(features)]
        for one in planes:  # each by itself is fine
            one.ef_reliable, one.ef = True, EfStatement(kind="plain", ef_percent=50.0)
        analysis = BiplaneAnalysis(a4c=planes[0], a2c=planes[1])
        analysis.__dict__["biplane"] = SimpleNamespace(ef_percent=50.0, refusal="")
        width = analysis.interval.high_percent - analysis.interval.low_percent
        assert (width <= calibration.limits.interval_points) == reliable == analysis.ef_reliable
        assert analysis.ef.kind == ("plain" if reliable else "unreliable")
        assert ("is wider than the range of EF" in analysis.ef.reason) != reliable
