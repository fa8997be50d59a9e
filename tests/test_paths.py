"""What writes or reads a file or folder takes its path as text too."""

import numpy as np
import pytest

import echoseg
from animated_makers import SPACING_MM, stills
from echoseg.clip import Annotation, Clip, View
from echoseg.data import cache, camus_writer, echonet_writer, load_dataset, phantom_writer
from echoseg.evaluation.tables import read_items
from echoseg.files import write_text
from echoseg.io import dicom_writer, find_format, load_clip, nifti, source_sha256, video
from echoseg.models import MemoryUNet
from echoseg.models.build import architecture_of
from echoseg.models.checkpoint import load_model, save_checkpoint
from echoseg.phantom import PhantomConfig
from echoseg.train.config import train_config
from echoseg.train.train import run_training
from echoseg.weights.card import ModelCard, read_card


@pytest.fixture
def clip():
    frames, masks = stills()
    moving = np.concatenate([frames, frames])
    annotation = Annotation(masks=np.concatenate([masks, masks]), ed_frame=0, es_frame=1)
    times_s = np.arange(4) / 20
    clip = Clip(frames=moving, spacing_mm=SPACING_MM, times_s=times_s, view=View.A4C)
    return clip, annotation


def test_checkpoints(tmp_path):
    net = MemoryUNet()
    path = str(tmp_path / "net.safetensors")
    card = ModelCard(architecture=architecture_of(net), image_size=64, licence="Apache-2.0")
    save_checkpoint(path, net, card)
    assert load_model(path)[1].sha256 == read_card(path).sha256


def test_clips(tmp_path, clip):
    frames = clip[0].frames
    files = {name: str(tmp_path / f"clip.{name}") for name in ("nii", "dcm", "avi", "mp4")}
    nifti.write_clip(files["nii"], clip[0])
    dicom_writer.write(files["dcm"], clip[0])
    video.write_mjpeg(files["avi"], frames, 20)
    video.write_h264(files["mp4"], np.repeat(frames[..., None], 3, -1), 20)
    formats = [find_format(path) for path in files.values()]
    assert formats[:2] == ["nifti", "dicom"] and len(set(formats)) == 3
    for path in files.values():
        read = load_clip(path)
        assert read.num_frames == 4 and read.source_sha256 == source_sha256(path)


def test_data_sets(tmp_path, clip):
    root = str(tmp_path / "camus")
    camus_writer.write_patient(root, "patient0001", {View.A4C: clip})
    camus_writer.write_splits(root, {"training": ["patient0001"]})
    assert load_dataset(root).records[0].patient == "patient0001"
    echonet_writer.write_dataset(str(tmp_path / "echonet"), [("one", *clip, "TRAIN")])
    assert len(load_dataset(str(tmp_path / "echonet"))) == 1
    phantom_writer.write(str(tmp_path / "own"), [PhantomConfig(size_px=64, num_frames=2)], "avi")
    assert len(load_dataset(str(tmp_path / "own"))) == 1
    cache.prepare(load_dataset(root), str(tmp_path / "cache"), 32)
    assert len(cache.CachedClips(str(tmp_path / "cache"))) == 1


def test_results(tmp_path):
    write_text(str(tmp_path / "a.txt"), "a")
    assert (tmp_path / "a.txt").read_text() == "a"
    with pytest.raises(echoseg.EchosegError, match=r"items\.csv is missing"):
        read_items(str(tmp_path))
    small = {"data": "phantom:2", "image_size": 32, "num_steps": 1, "num_labeled": 1}
    config = train_config(**small, architecture={"size": "tiny"}, accelerator="cpu")
    assert run_training(config, str(tmp_path / "run")) == tmp_path / "run" / "model.safetensors"
