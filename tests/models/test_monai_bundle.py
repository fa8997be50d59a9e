"""The bundle, by MONAI's own tools: its parts, its network, and a run that gives our masks."""

import json
import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from echoseg.cli import app
from echoseg.cli.options import demo_clips
from echoseg.evaluation.segment import loaded, segment
from echoseg.io import load_clip


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("monai") / "bundle"
    run = CliRunner().invoke(app, ["export", "camus", "--to", "monai", "-o", str(folder)])
    assert run.exit_code == 0, run.output
    return folder


def python(code, *arguments):
    """Run code in a process of its own: MONAI changes the settings of numpy and torch."""
    env = os.environ | {"PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_monai_finds_every_part_that_inference_needs(bundle):
    code = """
import sys
from monai.bundle import ConfigWorkflow
root = sys.argv[1]
workflow = ConfigWorkflow(f"{root}/configs/inference.json", f"{root}/configs/metadata.json",
                          logging_file=False, workflow_type="inference", bundle_root=root)
workflow.initialize()
print("missing:", workflow.check_properties())
"""
    assert "missing: []" in python(code, bundle)


def test_monai_finds_the_network_as_the_metadata_say(bundle):
    code = """
import sys
from monai.bundle import verify_net_in_out
root = sys.argv[1]
verify_net_in_out("network_def", f"{root}/configs/metadata.json", f"{root}/configs/inference.json",
                  device="cpu", any=64, bundle_root=root)
print("verified")
"""
    assert "verified" in python(code, bundle)


def test_a_run_of_the_bundle_gives_the_masks_of_our_own_protocol(bundle, tmp_path):
    clip = load_clip(demo_clips()["simulated"])
    frames = clip.frames[:3, :, 20:]  # not square, so that exchanged axes would show
    (tmp_path / "data").mkdir()
    image = nib.Nifti1Image(frames.transpose(2, 1, 0), np.diag([1.2, 1.2, 1, 1]))
    nib.save(image, tmp_path / "data" / "clip.nii.gz")
    code = """
import sys
from monai.bundle import run
root, data, output = sys.argv[1:]
run(config_file=f"{root}/configs/inference.json", bundle_root=root, dataset_dir=data,
    output_dir=output)
"""
    python(code, bundle, tmp_path / "data", tmp_path / "masks")
    masks = np.asarray(nib.load(tmp_path / "masks" / "clip_masks.nii.gz").dataobj)
    expected = segment(*loaded("camus"), frames, stills=True)
    assert masks.shape == frames.shape[::-1] and masks.dtype == np.uint8
    assert (masks.transpose(2, 1, 0) == expected).mean() > 0.999
    assert (expected == 1).sum() > 1000


def test_metadata_name_labels_versions_and_that_it_is_research_software(bundle):
    document = json.loads((bundle / "configs" / "metadata.json").read_text())
    names = document["network_data_format"]["outputs"]["pred"]["channel_def"]
    assert names == {"0": "background", "1": "LV cavity", "2": "LV myocardium", "3": "left atrium"}
    assert "not a medical device" in document["description"]
    assert document["eval_metrics"]["lv_endo"] == pytest.approx(0.942, abs=0.001)
