"""Targets: each gives one reader the bytes of one file; only `EchosegError` may come out."""

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from echoseg.errors import EchosegError

LIMIT_GIB = 0.002
"""So that an input takes little time; the limits themselves are tested by their own tests."""
_LONGEST_TEXT = 2000


def accept(read: Callable[..., object], *arguments: object, **options: object) -> bool:
    """Whether a reader accepts; an error that is not ours, or that is no sentence, passes.

    Raises:
        AssertionError: If the error has no text, or quotes the file at length.
    """
    try:
        read(*arguments, **options)
    except EchosegError as error:
        assert 0 < len(str(error)) < _LONGEST_TEXT, f"text of {len(str(error))} characters"
        return False
    return True


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def clip(content: bytes) -> None:
    """A clip of any format, and what cohort and data sets do before."""
    from echoseg.io import load_clip, source_sha256
    from echoseg.io.clip_header import read_clip_header

    with _folder() as folder:
        (path := folder / "a").write_bytes(content)
        source_sha256(path)
        read_clip_header(path)
        accept(load_clip, path, max_decoded_gib=LIMIT_GIB)
        accept(load_clip, path, max_decoded_gib=LIMIT_GIB, allow_damaged=True)


def masks(content: bytes) -> None:
    """Masks of any format."""
    from echoseg.io import load_masks

    with _folder() as folder:
        (path := folder / "a").write_bytes(content)
        accept(load_masks, path)


def npz(content: bytes) -> None:
    """Clips for training in one file."""
    from echoseg.train.data.sources import _stored_records

    with _folder() as folder:
        (path := folder / "a.npz").write_bytes(content)
        accept(_stored_records, path)


def document(content: bytes) -> None:
    """Each document of a phantom, a cache, a run and an evaluation, with the same content."""
    from echoseg.data.cache import clip_file
    from echoseg.data.cache_reader import collect as collect_cache
    from echoseg.data.phantom_files import collect as collect_phantom
    from echoseg.evaluation.compare import _data_sha256
    from echoseg.train.run_folder import RunFolder

    with _folder() as folder:
        for name in ("phantom.json", "run.json", "summary.json"):
            (folder / name).write_bytes(content)
        accept(collect_phantom, folder)
        accept(RunFolder(folder).config)
        accept(_data_sha256, folder)
    with _folder() as folder:
        (folder / "cache.json").write_bytes(content)
        (folder / clip_file("a")).parent.mkdir()
        (folder / f"{clip_file('a')}.json").write_bytes(content)
        accept(collect_cache, folder)
        settings = {"format": 3, "dataset": "custom", "size_px": 16, "clips": ["a"]}
        (folder / "cache.json").write_text(json.dumps(settings))
        accept(lambda: [record.load() for record in collect_cache(folder).records])


def card(content: bytes) -> None:
    """A checkpoint's card, its weights, and an encoder."""
    from echoseg.models.checkpoint import load_model
    from echoseg.weights.card import read_card

    with _folder() as folder:
        (path := folder / "a.safetensors").write_bytes(content)
        if accept(read_card, path) and ":" not in read_card(path).architecture:
            accept(load_model, str(path))


def calibration(content: bytes) -> None:
    """A calibration; an interval of one that is accepted holds the EF, within 0 to 100."""
    from echoseg.quality.conformal import FEATURES, ef_interval, load_calibration
    from echoseg.quality.reliability import ClipUncertainty

    with _folder() as folder, contextlib.suppress(EchosegError):
        (folder / "a.trust.json").write_bytes(content)
        with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
            sha256 = str(json.loads(content)["model_sha256"])
            loaded = load_calibration(folder / "a.safetensors", sha256)
            if loaded is not None:
                known = dict.fromkeys(ClipUncertainty.__dataclass_fields__, 1.0)
                uncertainty = ClipUncertainty(**known | dict.fromkeys(FEATURES, 2.0))  # type: ignore[arg-type]
                for ef_percent in (0.0, 55.0, 100.0):
                    span = ef_interval(ef_percent, uncertainty, loaded, view="A4C")
                    assert 0 <= span.low_percent <= ef_percent <= span.high_percent <= 100
                    assert 50 <= span.level_percent < 100
        load_calibration(folder / "a.safetensors", "ab")


def table(content: bytes) -> None:
    """Tables of custom clips, of EchoNet-Dynamic and of an evaluation."""
    from echoseg.data import load_dataset
    from echoseg.evaluation.tables import read_items

    with _folder() as folder:
        for name in ("clips.csv", "items.csv"):
            (folder / name).write_bytes(content)
        accept(load_dataset, folder)
        accept(read_items, folder)
    with _folder() as folder:
        (folder / "FileList.csv").write_bytes(content)
        (folder / "Videos").mkdir()
        accept(load_dataset, folder)


def state(content: bytes) -> None:
    """The state of a run, to resume from."""
    from echoseg.train.state_file import read_state

    with _folder() as folder:
        (path := folder / "resume-000001.safetensors").write_bytes(content)
        with contextlib.suppress(OSError, ValueError):  # `RunFolder.load` takes the one before
            read_state(path)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "clip": clip,
    "masks": masks,
    "npz": npz,
    "document": document,
    "card": card,
    "calibration": calibration,
    "table": table,
    "state": state,
}
