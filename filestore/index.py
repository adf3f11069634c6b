"""The local store's index: which blob is which file, in one SQLite database.

The index is what makes a write atomic: a blob without a row does not exist, and a row is written in one synced
transaction after its blob is safe on the disk. Paths never become file names, so `a` and `a/b`, 1024-byte paths and
odd letters are all possible, as on S3. Everything here blocks: it is meant for threads.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filestore.access import EVERYTHING, Guard, Reach, free
from filestore.backend import FileInfo, FilePage, Usage
from runtime.errors import DiskFull, FileNotFound, Unavailable

_SCHEMA_VERSION = 2
_SCHEMA = """
CREATE TABLE file (
    bucket TEXT NOT NULL,
    path TEXT NOT NULL,
    blob TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    content_type TEXT NOT NULL,
    update_time_us INTEGER NOT NULL,
    owner TEXT NOT NULL,
    task_id TEXT NOT NULL,
    PRIMARY KEY (bucket, path)
) WITHOUT ROWID;
CREATE INDEX file_by_owner ON file (bucket, owner, path);
CREATE TABLE usage (bucket TEXT PRIMARY KEY, files INTEGER NOT NULL, size_bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TRIGGER file_added AFTER INSERT ON file BEGIN
    INSERT INTO usage VALUES (new.bucket, 1, new.size_bytes)
    ON CONFLICT DO UPDATE SET files = files + 1, size_bytes = size_bytes + new.size_bytes;
END;
CREATE TRIGGER file_removed AFTER DELETE ON file BEGIN
    UPDATE usage SET files = files - 1, size_bytes = size_bytes - old.size_bytes WHERE bucket = old.bucket;
END;
"""
_FROM_VERSION_1 = """
ALTER TABLE file ADD COLUMN owner TEXT NOT NULL DEFAULT 'anonymous';
ALTER TABLE file ADD COLUMN task_id TEXT NOT NULL DEFAULT '';
CREATE INDEX file_by_owner ON file (bucket, owner, path);
"""
# Columns come in the order of the schema, which its version fixes.
_ONE = "SELECT * FROM file WHERE bucket = ? AND path = ?"
_BETWEEN = "SELECT * FROM file WHERE bucket = ? AND path >= ? AND path < ? ORDER BY path LIMIT ?"
_OWNED = "SELECT * FROM file WHERE bucket = ? AND owner = ? AND path >= ? AND path < ? ORDER BY path LIMIT ?"
_SCAN_ROWS = 256
_AFTER_SLASH = chr(ord("/") + 1)
_NEXT = "\x01"
"""Added to a path it gives the smallest text after it: no path has a control character."""
_LAST = "\U0010ffff" * 257
"""Added to a prefix it gives a text behind every path with that prefix, which has 1024 bytes at most."""

_Values = tuple[str, str, str, int, str, str, int, str, str]


@dataclass(frozen=True)
class Row:
    """One file and the blob that holds its content."""

    info: FileInfo
    blob: str


class FileIndex:
    """The database, open."""

    def __init__(self, path: Path) -> None:
        # One connection under one lock: every statement here takes microseconds, a commit one disk sync.
        self._lock = threading.Lock()
        with _database_errors():
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;")
            elif version == 1:
                self._db.executescript(
                    f"BEGIN; {_FROM_VERSION_1} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;"
                )
            elif version != _SCHEMA_VERSION:
                raise Unavailable(
                    f"the store's index has version {version}; this program reads {_SCHEMA_VERSION}"
                )

    def put(self, info: FileInfo, blob: str, may_replace: Guard = free) -> str | None:
        """Name a blob, durably; return the blob that it replaces. Raises what `may_replace` says against that."""
        with self._transaction() as db:
            before = self._row(db, info.bucket, info.path)
            if before is not None:
                may_replace(before.info)
                db.execute("DELETE FROM file WHERE bucket = ? AND path = ?", (info.bucket, info.path))
            update_time_us = round(info.update_time.timestamp() * 1_000_000)
            values = (
                info.bucket,
                info.path,
                blob,
                info.size_bytes,
                info.sha256,
                info.content_type,
                update_time_us,
                info.owner,
                info.task_id,
            )
            db.execute("INSERT INTO file VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        return before.blob if before else None

    def get(self, bucket: str, path: str) -> Row:
        """Return one file; raises FileNotFound."""
        with self._reading() as db:
            row = self._row(db, bucket, path)
        if row is None:
            raise FileNotFound(f"no file {path} in bucket {bucket}")
        return row

    def take(self, bucket: str, path: str, guard: Guard = free) -> Row:
        """Forget one file, durably, and return what it was; raises FileNotFound, and what the guard says against it."""
        with self._transaction() as db:
            row = self._row(db, bucket, path)
            if row is None:
                raise FileNotFound(f"no file {path} in bucket {bucket}")
            guard(row.info)
            db.execute("DELETE FROM file WHERE bucket = ? AND path = ?", (bucket, path))
        return row

    def take_some(
        self, bucket: str, folder: str, limit: int, reach: Reach = EVERYTHING, after: str = ""
    ) -> tuple[list[Row], str]:
        """Look at up to `limit` files of a folder (`a/`) behind `after`, and forget those within reach, durably.

        Returns what they were, and the path that was looked at last; empty: there is no more.
        """
        end = folder[:-1] + _AFTER_SLASH
        with self._transaction() as db:
            low = after + _NEXT if after else folder
            rows = [_to_row(found) for found in self._some(db, bucket, low, end, reach, limit)]
            taken = [row for row in rows if reach.takes(row.info)]
            db.executemany(
                "DELETE FROM file WHERE bucket = ? AND path = ?", [(bucket, row.info.path) for row in taken]
            )
        return taken, rows[-1].info.path if rows else ""

    def list_page(
        self, bucket: str, prefix: str, *, recursive: bool, limit: int, after: str, reach: Reach = EVERYTHING
    ) -> FilePage:
        """List files within reach, and folders when not recursive, that begin with `prefix` and come after `after`."""
        files: list[FileInfo] = []
        folders: list[str] = []
        last = ""
        with self._reading() as db:
            for entry in self._entries(db, bucket, prefix, recursive=recursive, after=after, reach=reach):
                if len(files) + len(folders) == limit:
                    return FilePage(tuple(files), tuple(folders), last)
                if isinstance(entry, str):
                    folders.append(entry)
                    last = entry
                else:
                    files.append(entry)
                    last = entry.path
        return FilePage(tuple(files), tuple(folders), "")

    def usage(self, bucket: str) -> Usage:
        """Return what a bucket holds, kept up to date by triggers."""
        with self._reading() as db:
            row = db.execute("SELECT files, size_bytes FROM usage WHERE bucket = ?", (bucket,)).fetchone()
        return Usage(*row) if row else Usage()

    def blobs(self) -> set[str]:
        """Return the name of every blob that a file has."""
        with self._reading() as db:
            return {row[0] for row in db.execute("SELECT blob FROM file")}

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()

    def _entries(
        self, db: sqlite3.Connection, bucket: str, prefix: str, *, recursive: bool, after: str, reach: Reach
    ) -> Iterator[FileInfo | str]:
        """Yield files and folders in order, leaping over the inside of each folder."""
        end = prefix + _LAST
        low = max(prefix, after + _NEXT if after else "")
        if after.endswith("/") and not recursive:
            low = max(prefix, after[:-1] + _AFTER_SLASH)
        while True:
            found = self._some(db, bucket, low, end, reach, _SCAN_ROWS)
            for values in found:
                path: str = values[1]
                slash = -1 if recursive else path.find("/", len(prefix))
                if slash >= 0:
                    yield path[: slash + 1]
                    low = path[:slash] + _AFTER_SLASH
                    break
                yield _to_row(values).info
                low = path + _NEXT
            else:
                if not found:
                    return

    @staticmethod
    def _some(
        db: sqlite3.Connection, bucket: str, low: str, end: str, reach: Reach, limit: int
    ) -> list[_Values]:
        """Return the next files from `low` up to before `end` that may be within reach, in path order; none: there are no more.

        One query for each owner and each shared prefix, so that other users' files cost nothing, however many they are.
        """
        if reach.owners is None:
            return db.execute(_BETWEEN, (bucket, low, end, limit)).fetchall()
        answers = [
            db.execute(_OWNED, (bucket, owner, low, end, limit)).fetchall() for owner in sorted(reach.owners)
        ]
        for shared in reach.prefixes:
            span = max(low, shared), min(end, shared + _LAST)
            answers.append(db.execute(_BETWEEN, (bucket, *span, limit)).fetchall())
        # Behind the end of an answer that was cut off others may have more than it: what lies there comes with the next call.
        horizon = min((rows[-1][1] for rows in answers if len(rows) == limit), default=end)
        merged = {row[1]: row for rows in answers for row in rows if row[1] <= horizon}
        return [merged[path] for path in sorted(merged)]

    @staticmethod
    def _row(db: sqlite3.Connection, bucket: str, path: str) -> Row | None:
        found = db.execute(_ONE, (bucket, path)).fetchone()
        return _to_row(found) if found else None

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _database_errors():
            yield self._db

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _database_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


@contextmanager
def _database_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if "disk is full" in str(error):
            raise DiskFull("the store's disk is full") from error
        raise Unavailable("the store's index cannot be read or written") from error


def _to_row(values: _Values) -> Row:
    bucket, path, blob, size_bytes, sha256, content_type, update_time_us, owner, task_id = values
    update_time = datetime.fromtimestamp(update_time_us / 1_000_000, UTC)
    info = FileInfo(bucket, path, size_bytes, sha256, content_type, sha256, update_time, owner, task_id)
    return Row(info, blob)
