"""Write clips in the layout of EchoNet-Dynamic."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from echoseg.clip import Annotation, Clip
from echoseg.data.echonet_dynamic import LIST_COLUMNS, TRACING_COLUMNS
from echoseg.data.echonet_tracing import tracing_from_mask
from echoseg.files import csv_text, write_text
from echoseg.io.video import write_mjpeg

Item = tuple[str, Clip, Annotation, str]
"""One clip to be written: name without suffix, clip, annotation, and one of `SPLITS`."""


def write_dataset(root: str | Path, items: Iterable[Item]) -> None:
    """Write clips in the data set's layout, tracings drawn from the masks of ED and ES.

    Items are consumed one at a time. An unknown EF or volume is left empty.

    Raises:
        ValueError: If an item lacks frame times, ED or ES.
        OutputError: If something cannot be written.
    """
    root = Path(root)
    (root / "Videos").mkdir(parents=True, exist_ok=True)
    listed: list[Sequence[object]] = []
    traced: list[Sequence[object]] = []
    for name, clip, truth, split in items:
        rate_hz, phases = clip.even_frame_rate_hz(), (truth.ed_frame, truth.es_frame)
        if rate_hz is None or None in phases:
            raise ValueError(f"{name}: times_s, ed_frame and es_frame must be known")
        write_mjpeg(root / "Videos" / f"{name}.avi", clip.frames, rate_hz)
        values = (
            "" if v is None else f"{v:.8g}" for v in (truth.ef_percent, truth.esv_ml, truth.edv_ml)
        )
        listed.append((name, *values, *clip.size, f"{rate_hz:.8g}", clip.num_frames, split))
        traced += [
            (f"{name}.avi", *(f"{value:.8f}" for value in chord), frame)
            for frame in phases
            for chord in tracing_from_mask(truth.masks[frame])
        ]
    write_text(root / "VolumeTracings.csv", csv_text(TRACING_COLUMNS, traced))
    write_text(root / "FileList.csv", csv_text(LIST_COLUMNS, listed))
