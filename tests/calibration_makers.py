"""Samples whose errors have a known spread, for tests of the interval."""

import numpy as np

from echoseg.quality.calibration_fit import Sample, calibrate
from echoseg.quality.reliability import ClipUncertainty

CALM = ClipUncertainty(entropy=0.02, pose_points=0.3, gamma_percent=2, segments_unseen=0)
UNSURE = ClipUncertainty(entropy=0.02, pose_points=19.5, gamma_percent=2, segments_unseen=0)


def samples(num, seed, bias=-3.0, clips_each=1, view="A4C"):
    """Errors of SD 2 + 3.5 log(1 + pose_points); the other features are idle."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(num):
        noise = rng.standard_normal()
        for _ in range(clips_each):  # of one patient: one error, other features
            pose = rng.uniform(0, 20)
            features = ClipUncertainty(
                entropy=rng.uniform(0, 0.3),
                pose_points=pose,
                segments_unseen=rng.uniform(0, 3),
                gamma_percent=rng.uniform(0, 6),
                flicker_percent=rng.uniform(1, 6),
                area_jitter_percent=rng.uniform(1, 6),
            )
            error = bias + (2 + 3.5 * np.log1p(pose)) * noise
            made.append(
                Sample(
                    patient=f"{seed}-{index}",
                    view=view,
                    uncertainty=features,
                    ef_percent=50.0,
                    true_ef_percent=50 + float(error),
                )
            )
    return made


def made(level=0.9, num=1500, **words):
    return calibrate(samples(num, 0, **words), model_sha256="ab", source="test", level=level)
