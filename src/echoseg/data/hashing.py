"""The hash of a record's source files."""

import hashlib
from pathlib import Path

from echoseg.data.records import Record


def hash_sources(record: Record) -> str:
    """Hash the bytes of all files that a record is read from, with those that its files refer to.

    Empty when one cannot be read.
    """
    from echoseg.io.metaimage import data_files

    digest = hashlib.sha256()
    try:
        for path in record.files:
            files = [path]
            if path.is_dir():
                files = sorted(child for child in path.iterdir() if child.is_file())
            elif path.suffix.lower() == ".mhd":
                files += filter(Path.is_file, data_files(path))
            for file in files:
                with file.open("rb") as content:
                    digest.update(hashlib.file_digest(content, "sha256").digest())
    except (OSError, ValueError):
        return ""
    return digest.hexdigest()
