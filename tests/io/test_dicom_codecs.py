"""Pixel encodings that ultrasound files come in: what is written lossless comes back exactly."""

import av
import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import MPEG4HP41, JPEG2000Lossless, RLELossless

from clip_makers import moving_frames, ultrasound
from echoseg.io import load_clip


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_lossless_encodings_come_back_exactly(tmp_path, syntax):
    frames = moving_frames()
    dataset = ultrasound(frames, FrameTime=40)
    dataset.compress(syntax)
    dataset.save_as(tmp_path / "c.dcm", enforce_file_format=True)
    assert np.array_equal(load_clip(tmp_path / "c.dcm").frames, frames)


def test_rgb_by_plane_and_palette_become_luma(tmp_path):
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 255, (4, 3, 48, 64), dtype=np.uint8)
    dataset = ultrasound(rgb[:, 0], FrameTime=40)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
    dataset.PlanarConfiguration, dataset.PixelData = 1, rgb.tobytes()
    dataset.save_as(tmp_path / "rgb.dcm", enforce_file_format=True)
    luma = np.einsum("tchw,c->thw", rgb.astype(float), [0.299, 0.587, 0.114])
    assert np.abs(load_clip(tmp_path / "rgb.dcm").frames - luma).max() <= 0.51

    frames = moving_frames()
    dataset = ultrasound(frames, FrameTime=40, PhotometricInterpretation="PALETTE COLOR")
    table = (255 - np.arange(256)).astype(np.uint8)
    for colour in ("Red", "Green", "Blue"):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 8])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", table.tobytes())
    dataset.save_as(tmp_path / "palette.dcm", enforce_file_format=True)
    assert np.array_equal(load_clip(tmp_path / "palette.dcm").frames, 255 - frames)


@pytest.mark.parametrize("num_fragments", [1, 3])
def test_h264_inside_dicom_is_decoded(tmp_path, num_fragments):
    frames = moving_frames(10)
    with av.open(str(tmp_path / "v.h264"), "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.options = {"crf": "5"}
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.stack([frame] * 3, -1), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    dataset = ultrasound(frames, FrameTime=40)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "YBR_PARTIAL_420"
    dataset.PlanarConfiguration = 0
    dataset.file_meta.TransferSyntaxUID = MPEG4HP41
    content = (tmp_path / "v.h264").read_bytes()
    dataset.PixelData = encapsulate([content], fragments_per_frame=num_fragments, has_bot=False)
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "h264.dcm", enforce_file_format=True)
    clip = load_clip(tmp_path / "h264.dcm")
    assert clip.frames.shape == frames.shape
    assert np.abs(clip.frames.astype(int) - frames).mean() < 4
