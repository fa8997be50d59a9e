"""Everything below a folder, links to folders followed, each folder read once."""

from pathlib import Path


def walk(root: Path, leave_out: Path | None = None) -> tuple[list[Path], list[Path]]:
    """Files and folders below a folder, sorted, and links to folders that are read already.

    Hidden names are left out. A folder that a link leads to as well is read in its own place; one
    outside is read in the place of the first link to it, so a loop of links ends.

    Args:
        root: The folder.
        leave_out: A folder that is not entered.

    Raises:
        OSError: If a folder cannot be read.
    """
    visited = {_identity(root)}
    if leave_out is not None and leave_out.is_dir():
        visited.add(_identity(leave_out))
    paths: list[Path] = []
    links: list[Path] = []
    repeated: list[Path] = []
    folders = [root]
    while folders or links:
        if not folders:  # no folder is left that needs no link
            links.sort(reverse=True)
            link = links.pop()
            if _identity(link) in visited:
                repeated.append(link)
                continue
            visited.add(_identity(link))
            paths.append(link)
            folders.append(link)
        for path in folders.pop().iterdir():
            if path.name.startswith("."):
                continue
            if not path.is_dir():
                paths.append(path)
            elif path.is_symlink():
                links.append(path)
            elif (identity := _identity(path)) not in visited:
                visited.add(identity)
                paths.append(path)
                folders.append(path)
    return sorted(paths), [link for link in sorted(repeated) if not _is_same(link, leave_out)]


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_same(link: Path, folder: Path | None) -> bool:
    return folder is not None and folder.exists() and link.samefile(folder)
