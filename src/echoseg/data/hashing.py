"""Source files of a record and their hash."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from echoseg.data.records import Record


def source_files(record: Record) -> list[Path]:
    """All files that a record is read from, with those that its files refer to."""
    from echoseg.io.metaimage import data_files

    files: list[Path] = []
    for path in record.files:
        if path.is_dir():
            files += sorted(child for child in path.iterdir() if child.is_file())
            continue
        files.append(path)
        if path.suffix.lower() == ".mhd" and path.is_file():
            files += filter(Path.is_file, data_files(path))
    return files


def sha256_of(paths: Sequence[Path]) -> str:
    """Hash the files' bytes in order; empty when one cannot be read."""
    digest = hashlib.sha256()
    try:
        for path in paths:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError:
        return ""
    return digest.hexdigest()
