"""Where what was exported and measured on this machine is kept, and under what name.

`ECHOSEG_CACHE_DIR`, else the user's cache folder of the system, `echoseg` in it. All of it can be
deleted at any time.
"""

import hashlib
import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from echoseg.errors import OutputError
from echoseg.files import write_text

MEASURED = "runtimes.json"
SEAL = ".sha256"
"""How the name of the hash beside a file ends."""
EXPORT_FORMAT = "2"
"""Changes when exported files change, so that older ones are not used."""


def cache_folder() -> Path:
    """Return the folder, which need not exist."""
    if given := os.environ.get("ECHOSEG_CACHE_DIR"):
        return Path(given)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "echoseg"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "echoseg"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "echoseg"


def export_path(sha256: str, size_px: int) -> Path:
    """Place of the ONNX file of these weights; each version of echoseg has its own."""
    name = f"{sha256[:16]}-{size_px}px-{version('echoseg')}-{EXPORT_FORMAT}.onnx"
    return cache_folder() / name


def write_checksum(path: Path) -> None:
    """Write a file's hash beside it.

    Raises:
        OSError: If it cannot be read.
        OutputError: If that cannot be written.
    """
    write_text(path.with_suffix(SEAL), _sha256(path) + "\n")


def has_valid_checksum(path: Path) -> bool:
    """Return whether a file is what it was when it was sealed: a damaged one may still load."""
    try:
        return path.with_suffix(SEAL).read_text("utf-8").strip() == _sha256(path)
    except (OSError, ValueError):
        return False


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def machine_key(sha256: str, size_px: int, num_threads: int) -> str:
    """Return what a measurement holds for: weights, size, threads, processor and versions."""
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
        found = [line for line in lines if line.startswith(("model name", "flags"))]
        return "".join(sorted(set(found)))
    return f"{platform.machine()} {platform.processor()}"


def cache_get(key: str) -> dict[str, Any] | None:
    """Return what was measured here under a key; None when nothing was, or the file is broken."""
    found = _all().get(key)
    return found if isinstance(found, dict) else None


def cache_put(key: str, found: dict[str, Any]) -> None:
    """Keep what was measured; a cache that cannot be written is none, and no reason to stop."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(_all() | {key: found}, indent=1)
        write_text(folder / MEASURED, text + "\n")
    except (OSError, OutputError):
        return


def _all() -> dict[str, Any]:
    try:
        found = json.loads((cache_folder() / MEASURED).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
