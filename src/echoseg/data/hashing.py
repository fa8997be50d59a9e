"""Hashes of a record: of its source files, and of all that it gives when it is read."""

import hashlib
import io
import pickle
from pathlib import Path, PurePath
from typing import Any

from pydantic import BaseModel

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


class _Pickler(pickle.Pickler):
    """Equal bytes for equal values: without sets of pydantic, and folders of paths."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, BaseModel):
            return str, (obj.model_dump_json(),)
        return (str, (obj.name,)) if isinstance(obj, PurePath) else NotImplemented


def hash_record(record: Record) -> str:
    """Hash the source files, and what the record states: fields, values of tables, settings.

    Empty when a file cannot be read, or a value of the record not be pickled.
    """
    written = io.BytesIO()
    try:
        pickler = _Pickler(written, 4)
        pickler.fast = True  # no memo, which says what is one object, not what is equal
        pickler.dump(record)
    except Exception:  # objects of your own raise what they like
        return ""
    files = hash_sources(record)
    return files and hashlib.sha256(written.getvalue() + files.encode()).hexdigest()
