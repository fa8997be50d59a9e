"""Files and folders: complete or absent, locked, resumable, never over what others wrote.

`work` is where everything is written before it gets its name, `write` are single files, `owned`
replaces only what echoseg wrote, `resumable` continues, `tables` are CSV and Markdown.
"""

from echoseg.files.owned import (
    ANOTHER_FOLDER,
    WRITTEN,
    OwnedFolder,
    Replace,
    check_new_file,
    check_own_file,
    owned_write,
    put_owned,
    remove_document,
    write_document,
    write_mark,
    write_owned_text,
    write_table,
)
from echoseg.files.resumable import ResumableFolder, SameFolder, is_locked, locked_dir
from echoseg.files.tables import csv_text, markdown_table, markdown_text, read_csv
from echoseg.files.work import HIDDEN, work_folder
from echoseg.files.write import (
    atomic_write,
    cache_folder,
    check_writable,
    disk_error,
    ensure_dir,
    read_json,
    remove_empty,
    write_json,
    write_text,
)

__all__ = [
    "ANOTHER_FOLDER",
    "HIDDEN",
    "WRITTEN",
    "OwnedFolder",
    "Replace",
    "ResumableFolder",
    "SameFolder",
    "atomic_write",
    "cache_folder",
    "check_new_file",
    "check_own_file",
    "check_writable",
    "csv_text",
    "disk_error",
    "ensure_dir",
    "is_locked",
    "locked_dir",
    "markdown_table",
    "markdown_text",
    "owned_write",
    "put_owned",
    "read_csv",
    "read_json",
    "remove_document",
    "remove_empty",
    "work_folder",
    "write_document",
    "write_json",
    "write_mark",
    "write_owned_text",
    "write_table",
    "write_text",
]
