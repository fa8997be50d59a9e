"""The bytes that a record is read from, and their hash."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from echoseg.data.records import Record


def source_files(record: Record) -> list[Path]:
    """Return every file that a record is read from, those that its files point to as well."""
    from echoseg.io.metaimage import data_file

    found: list[Path] = []
    for path in record.files:
        if path.is_dir():
            found += sorted(child for child in path.iterdir() if child.is_file())
            continue
        found.append(path)
        if path.suffix.lower() == ".mhd" and path.is_file() and (data := data_file(path)):
            found.append(data)
    return found


def sha256_of(paths: Sequence[Path]) -> str:
    """Return the hash of files' bytes in order; empty when one cannot be read."""
    digest = hashlib.sha256()
    try:
        for path in paths:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError:
        return ""
    return digest.hexdigest()
