"""ECG of a DICOM file: its samples are read, and the regions that show traces are kept apart."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from clip_makers import moving_frames, region, ultrasound
from echoseg.io import load_clip

RATE_HZ = 200.0


def waveform(values, label="Lead II", **changes):
    """A group of one channel, 0.5 mV per step."""
    source, channel, group = Dataset(), Dataset(), Dataset()
    source.CodeValue, source.CodingSchemeDesignator, source.CodeMeaning = "2:2", "MDC", label
    channel.ChannelSourceSequence = [source]
    channel.ChannelSensitivity, channel.ChannelSensitivityCorrectionFactor = 0.5, 1
    channel.ChannelBaseline, channel.WaveformBitsStored = 0, 16
    group.ChannelDefinitionSequence = [channel]
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = 1, len(values)
    group.SamplingFrequency = RATE_HZ
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    group.WaveformData = np.asarray(values, "<i2").tobytes()
    for name, value in changes.items():
        setattr(group, name, value)
    return group


def read(tmp_path, **elements):
    dataset = ultrasound(moving_frames(), **{"FrameTime": 40} | elements)
    dataset.save_as(tmp_path / "c.dcm", enforce_file_format=True)
    return load_clip(tmp_path / "c.dcm")


def test_samples_of_an_ecg_are_read_with_their_times(tmp_path):
    steps = [0, 10, 400, -60, 0, 30]
    pressure = waveform(range(6), "Respiration")
    delayed = waveform(steps, MultiplexGroupTimeOffset=100)
    ecg = read(tmp_path, WaveformSequence=[pressure, delayed]).ecg
    assert ecg.values == pytest.approx([0.5 * step for step in steps])
    assert ecg.times_s == pytest.approx(0.1 + np.arange(6) / RATE_HZ)


@pytest.mark.parametrize(
    "groups",
    [
        [],
        [waveform([3, 3, 3])],  # flat
        [waveform(range(9), "Respiration")],
        [waveform(range(9), SamplingFrequency=0)],
        [waveform(range(9), NumberOfWaveformSamples=4000)],  # cut short
        [Dataset()],
    ],
)
def test_what_is_no_ecg_costs_no_frames(tmp_path, groups):
    clip = read(tmp_path, WaveformSequence=groups)
    assert clip.ecg is None and clip.num_frames == 6


def test_an_ecg_without_frame_times_is_not_kept(tmp_path):
    assert read(tmp_path, FrameTime=None, WaveformSequence=[waveform([0, 9, 0])]).ecg is None


ECG = {"RegionSpatialFormat": 4, "RegionDataType": 0x0A, "RegionLocationMinY0": 36}


@pytest.mark.parametrize("kind", [{}, {"RegionSpatialFormat": 0}, {"RegionDataType": 0}])
def test_regions_of_traces_are_boxes_of_the_clip(tmp_path, kind):
    tissue, trace = region(RegionLocationMaxY1=47), region(**ECG | kind)
    clip = read(tmp_path, SequenceOfUltrasoundRegions=[trace, tissue])
    assert clip.sector_box == (0, 0, 48, 64)
    assert clip.trace_boxes == ((36, 0, 48, 64),)
    assert clip.spacing_mm == pytest.approx((0.5, 0.4))
    assert read(tmp_path, SequenceOfUltrasoundRegions=[trace]).trace_boxes == ((36, 0, 48, 64),)


def test_a_trace_over_the_whole_picture_and_a_stale_one_are_no_boxes(tmp_path):
    whole = region(**ECG | {"RegionLocationMinY0": 0})
    assert read(tmp_path, SequenceOfUltrasoundRegions=[whole, region()]).trace_boxes == ()
    stale = [region(**ECG), region(RegionLocationMaxX1=700)]
    assert read(tmp_path, SequenceOfUltrasoundRegions=stale).trace_boxes == ()


def test_trace_boxes_follow_square_pixels(tmp_path):
    regions = [region(PhysicalDeltaX=0.1, PhysicalDeltaY=0.05), region(**ECG)]
    clip = read(tmp_path, SequenceOfUltrasoundRegions=regions, PixelAspectRatio=[1, 2])
    assert clip.size == (48, 128) and clip.trace_boxes == ((36, 0, 48, 128),)
