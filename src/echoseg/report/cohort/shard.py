"""A shard: the part of a cohort that one of several runs in the same folder analyzes.

    OUT/.shards/3-of-8/   lock and audit log of shard 3 of 8

Which clips are of a shard rests on their names and on the number of shards only, so that it does
not matter who runs it, when, and what else is in the folder. `OUT` itself is locked only while a
shard begins.
"""

import contextlib
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from echoseg.errors import ConfigError, OutputError
from echoseg.files import is_locked, locked_dir
from echoseg.files.work import plain_folder

SHARDS = ".shards"
MAX_SHARDS = 100_000
_LOG = "audit.jsonl"


class Shard(BaseModel):
    """Shard `index` of `count`, counted from 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int = Field(ge=1)
    count: int = Field(ge=1, le=MAX_SHARDS)

    @model_validator(mode="after")
    def _check(self) -> "Shard":
        if self.index > self.count:
            raise ValueError(
                f"--shard must be I/N with I from 1 to N, got {self.index}/{self.count}"
            )
        return self

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read `3/8`.

        Raises:
            ConfigError: If it is something else.
        """
        match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        if match and 1 <= int(match[1]) <= int(match[2]) <= MAX_SHARDS:
            return cls(index=int(match[1]), count=int(match[2]))
        raise ConfigError(
            f"--shard must be I/N with I from 1 to N and N at most {MAX_SHARDS}, such as 3/8, got "
            f"{text!r:.40}"
        )

    def owns(self, clip: str) -> bool:
        """Whether a clip, by its name, is of this shard."""
        digest = hashlib.sha256(clip.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index - 1

    def folder(self, out: Path) -> Path:
        """Its folder in the cohort's."""
        return out / SHARDS / f"{self.index}-of-{self.count}"

    def audit_log(self, out: Path) -> Path:
        """Its audit log; it has one of its own, so that shards do not wait for each other."""
        return self.folder(out) / _LOG

    @contextlib.contextmanager
    def locked(self, out: Path) -> Iterator[None]:
        """Hold the lock of this shard; taken while that of `out` is held.

        Raises:
            OutputError: If this shard runs already, or shards of another number do.
        """
        for other in shard_folders(out):
            if not other.name.endswith(f"-of-{self.count}") and is_locked(other):
                raise OutputError(
                    f"{out} is in use by shard {other.name}; wait for it, or use the same number "
                    "of shards"
                )
        plain_folder(out / SHARDS)
        with locked_dir(self.folder(out)):
            yield


def shard_folders(out: Path) -> list[Path]:
    """Folders of the shards that have run in a cohort's folder, or run now."""
    with contextlib.suppress(OSError):
        return sorted(p for p in (out / SHARDS).iterdir() if re.fullmatch(r"\d+-of-\d+", p.name))
    return []


def shard_logs(out: Path) -> list[Path]:
    """Audit logs of the shards that have run."""
    return [log for folder in shard_folders(out) if (log := folder / _LOG).is_file()]


def running_shards(out: Path) -> list[str]:
    """Names of the shards that run now."""
    return [folder.name for folder in shard_folders(out) if is_locked(folder)]


def check_no_shard_runs(out: Path) -> None:
    """Check, while the lock of `out` is held, that no shard runs.

    Raises:
        OutputError: If one does.
    """
    if running := running_shards(out):
        raise OutputError(f"{out} is in use by shard {running[0]}; wait until it has ended")
