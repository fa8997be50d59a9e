"""The ECG that a DICOM object holds as samples: its Waveform Sequence (PS3.3 C.10.9).

Curve groups (50xx), retired, are not read. A trace drawn into the picture has no samples: see
`dicom_scale`.
"""

from typing import Any

import numpy as np

from echoseg.clip import Ecg
from echoseg.io.dicom_time import read_number

_WORDS = ("ecg", "lead")


def read_ecg(dataset: Any, start_s: float) -> Ecg | None:
    """The first ECG lead; None where there is none that can be decoded.

    Args:
        dataset: The object. Multiplex Group Time Offset (0018,1068) counts from its first frame.
        start_s: Time of the clip's first frame from that one.
    """
    from pydicom.waveforms.numpy_handler import multiplex_array

    try:
        groups = list(dataset.get("WaveformSequence") or [])
    except (ValueError, TypeError, AttributeError):
        return None
    for index, group in enumerate(groups):
        rate_hz = read_number(group, "SamplingFrequency")
        try:
            lead = _ecg_channel(group)
            if lead is None or not rate_hz or rate_hz <= 0:
                continue
            values = multiplex_array(dataset, index, as_raw=False)[:, lead].astype(float)
        except Exception:  # pydicom raises many types; a trace never costs the pixels
            continue
        if len(values) > 1 and np.isfinite(values).all() and np.ptp(values) > 0:
            offset_s = (read_number(group, "MultiplexGroupTimeOffset") or 0.0) / 1000
            return Ecg(times_s=offset_s - start_s + np.arange(len(values)) / rate_hz, values=values)
    return None


def _ecg_channel(group: Any) -> int | None:
    """Index of the first channel that is an ECG by its source or label."""
    for index, channel in enumerate(group.ChannelDefinitionSequence):
        sources = channel.get("ChannelSourceSequence") or []
        names = [str(channel.get("ChannelLabel", "")), *(str(s.CodeMeaning) for s in sources)]
        if any(word in name.lower() for name in names for word in _WORDS):
            return index
    return None
