"""Cache of exported files and backend timings of this machine, in `files.cache_folder`."""

import hashlib
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from echoseg.errors import OutputError
from echoseg.files import cache_folder, write_text
from echoseg.untrusted import read_json

TIMINGS = "backends.json"
CHECKSUM_SUFFIX = ".sha256"
EXPORT_FORMAT = "3"
"""Changes when exported files change, so that older ones are not used."""


def export_path(sha256: str, size_px: int) -> Path:
    """Place of the ONNX file of these weights; each version of echoseg has its own."""
    name = f"{sha256[:16]}-{size_px}px-{version('echoseg')}-{EXPORT_FORMAT}.onnx"
    return cache_folder() / name


def write_checksum(path: Path) -> None:
    """Write the SHA-256 of a file beside it.

    Raises:
        OSError: If the file cannot be read.
        OutputError: If the checksum cannot be written.
    """
    write_text(path.with_suffix(CHECKSUM_SUFFIX), _sha256(path) + "\n")


def has_valid_checksum(path: Path) -> bool:
    """Whether a file matches its checksum; a damaged one may still load."""
    try:
        return path.with_suffix(CHECKSUM_SUFFIX).read_text("utf-8").strip() == _sha256(path)
    except (OSError, ValueError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def machine_key(sha256: str, size_px: int, num_threads: int) -> str:
    """Key of everything a timing depends on: weights, size, threads, processor, versions."""
    parts = [EXPORT_FORMAT, sha256, str(size_px), str(num_threads), platform.node(), _processor()]
    for name in ("echoseg", "torch", "onnx", "onnxscript", "onnxruntime", "openvino"):
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            parts.append(f"no {name}")
    parts.append(os.environ.get("ONEDNN_MAX_CPU_ISA", ""))
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:24]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text("utf-8", errors="replace").splitlines()
        chosen = {line for line in lines if line.startswith(("model name", "flags"))}
        return "".join(sorted(chosen))
    return f"{platform.machine()} {platform.processor()}"


def cache_get(key: str) -> dict[str, Any] | None:
    """The cached value of a key; None without one, or when the file is damaged."""
    value = _all().get(key)
    return value if isinstance(value, dict) else None


def cache_put(key: str, value: dict[str, Any]) -> None:
    """Cache a value; a cache that cannot be written is ignored."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(_all() | {key: value}, indent=1)
        write_text(folder / TIMINGS, text + "\n")
    except (OSError, OutputError):
        return


def _all() -> dict[str, Any]:
    try:
        values = read_json(cache_folder() / TIMINGS)
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
