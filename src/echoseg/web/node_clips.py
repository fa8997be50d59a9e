"""The clips that a node received, put into the worklist by reference as they come."""

import logging
import threading
from pathlib import Path

from sqlalchemy import select

from echoseg.database import Database
from echoseg.errors import ConfigError, EchosegError
from echoseg.node.records import SCHEMA_VERSION, Instance, SchemaVersion
from echoseg.node.settings import NodeSettings
from echoseg.web.worklist import Worklist

LOGGER = logging.getLogger("echoseg.page")
_POLL_S = 5.0
_BATCH = 100


class NodeClips:
    """Follows the database of a node, in a thread.

    Args:
        settings: Those of the node.
        worklist: Where its clips are put.
        account: Who adds them, for the audit log.

    Raises:
        ConfigError: If the node has no database yet, or it cannot be opened.
    """

    def __init__(self, settings: NodeSettings, worklist: Worklist, account: str) -> None:
        if not settings.database_url and not settings.database_file.exists():
            raise ConfigError(
                f"the node has no database at {settings.database_file}; start the node first, or "
                "correct its folder"
            )
        self._settings, self._worklist, self._account = settings, worklist, account
        self._database = Database(settings.url, SchemaVersion, SCHEMA_VERSION)
        self._known: set[Path] = set()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._known = self._worklist.sources_in(self._settings.folder.absolute())
        self._thread.start()

    def step(self) -> int:
        """Put what is new into the worklist; return how many files that were."""
        folder = self._settings.folder.absolute()
        chosen = select(Instance.path).order_by(Instance.received_s, Instance.instance_uid)
        with self._database.transaction() as session:
            paths = [folder / path for path in session.scalars(chosen)]
        new = [path for path in paths if path not in self._known and path.exists()]
        for start in range(0, len(new), _BATCH):
            batch = new[start : start + _BATCH]
            self._worklist.add(batch, self._account)
            self._known.update(batch)
        return len(new)

    def _follow(self) -> None:
        while True:
            try:
                self.step()
            except EchosegError as error:
                LOGGER.error("the node's clips are not read: %s", error)
            if self._is_over.wait(_POLL_S):
                return

    def close(self) -> None:
        """End, after the clips that are being added."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join()
        self._database.close()
