"""Recorded pages in a SQLite file that several processes may use at the same time.

The write-ahead log keeps the file consistent if a process is killed. The file must be on a local
disk: the log needs memory that network file systems do not share.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

from zs_env.search.engine import Answer
from zs_env.search.types import SearchCost, SearchError, SearchPage, SearchRequest
from zs_env.transcripts.serialization import document_from_json, document_to_json

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x5A53_4348  # "ZSCH": marks the SQLite file as a cache
_BUSY_TIMEOUT_S = 60.0
_SCHEMA = (
    "CREATE TABLE pages (key BLOB PRIMARY KEY, fingerprint TEXT NOT NULL, query TEXT NOT NULL, "
    "page TEXT NOT NULL) WITHOUT ROWID"
)


class PageStore:
    """Pages by engine fingerprint and request.

    Args:
        path: the file; created if missing, except in a replay.
        mode: "live" and "record" write, "replay" only reads; "record" waits for the disk.

    Raises:
        FileNotFoundError: if there is no file to replay, or no folder for a new one.
        ValueError: if the file is damaged, belongs to another program, or has another schema
            version.
    """

    def __init__(self, path: Path, *, mode: str) -> None:
        self.path = path
        self._mode = mode
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._owner_pid = -1
        if mode == "replay" and not path.is_file():
            raise FileNotFoundError(f"no recorded pages at {path}; record pages first")
        if not path.parent.is_dir():
            raise FileNotFoundError(f"the folder {path.parent} does not exist; create it first")
        try:
            self._connected()
        except sqlite3.Error as error:
            raise ValueError(
                f"{path} cannot be used as a cache ({error}); it is damaged or cannot be "
                "written: move it, or choose another path"
            ) from error

    def load(
        self, fingerprint: str, requests: Sequence[SearchRequest]
    ) -> dict[SearchRequest, Answer]:
        """Return the pages that the file has, with a SearchError for a damaged page."""
        with self._using() as connection:
            return {
                request: page
                for request in requests
                if (page := self._read(connection, fingerprint, request)) is not None
            }

    def save(
        self, fingerprint: str, pages: Mapping[SearchRequest, SearchPage]
    ) -> dict[SearchRequest, Answer]:
        """Store pages. If another process stored a page first, return that page.

        A SearchError stands for a page that cannot be stored; if the file cannot be written, for
        all of them.
        """
        kept: dict[SearchRequest, Answer] = dict(pages)
        rows: dict[SearchRequest, str] = {}
        for request, page in pages.items():
            try:
                rows[request] = _page_to_json(page)
            except SearchError as error:
                kept[request] = error
        try:
            self._insert(fingerprint, rows, kept)
        except SearchError as error:
            kept |= dict.fromkeys(rows, error)
        return kept

    def _insert(
        self, fingerprint: str, rows: Mapping[SearchRequest, str], kept: dict[SearchRequest, Answer]
    ) -> None:
        """Write rows, all or none, and put the pages that were stored before into `kept`."""
        with self._using() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                for request, text in rows.items():
                    # For people who read the file. SQLite refuses lone surrogates.
                    readable = request.query.encode("utf-8", "replace").decode()
                    row = (_key(fingerprint, request), fingerprint, readable, text)
                    sql = "INSERT OR IGNORE INTO pages VALUES (?, ?, ?, ?)"
                    if connection.execute(sql, row).rowcount == 0:
                        first = self._read(connection, fingerprint, request)
                        kept[request] = first or kept[request]
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def fingerprints(self) -> list[str]:
        """Return the fingerprints of the engines with pages in the file, sorted."""
        with self._using() as connection:
            rows = connection.execute("SELECT DISTINCT fingerprint FROM pages ORDER BY 1")
            return [row[0] for row in rows]

    def close(self) -> None:
        """Close the file. The next use opens it again."""
        with self._lock:
            if self._connection is not None and self._owner_pid == os.getpid():
                self._connection.close()
            self._connection = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_mode": self._mode}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock(), _connection=None, _owner_pid=-1)

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connected()
            except sqlite3.Error as error:
                raise SearchError(
                    f"the cache {self.path} cannot be used: {error}; the file is damaged, the "
                    "disk is full, or another process holds it"
                ) from error

    def _connected(self) -> sqlite3.Connection:
        # A connection must not be used in a forked process.
        if self._connection is None or self._owner_pid != os.getpid():
            self._connection = self._open()
            self._owner_pid = os.getpid()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        """Open the file. Wait while another process prepares it; SQLite does not always do so."""
        deadline = time.monotonic() + _BUSY_TIMEOUT_S
        while True:
            try:
                return self._try_open()
            except sqlite3.OperationalError as error:
                # The low byte is the kind of the error.
                is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not is_busy or time.monotonic() > deadline:
                    raise
            time.sleep(0.005)

    def _try_open(self) -> sqlite3.Connection:
        if self._mode != "replay":
            connection = _connect(self.path, "rwc")
            self._prepare(connection)
        elif os.access(self.path.parent, os.W_OK):
            connection = _connect(self.path, "rw")
        else:
            log = self.path.with_name(f"{self.path.name}-wal")
            if log.exists() and log.stat().st_size:
                raise ValueError(
                    f"{log} has pages of a recording that was killed or is still open, and SQLite "
                    "cannot read them in a read-only folder; copy both files to a folder that can "
                    "be written, and replay the copy"
                )
            # In a read-only folder SQLite cannot write its log, and reads immutable files only.
            connection = _connect(self.path, "ro&immutable=1")
        try:
            self._check(connection)
            connection.execute(
                f"PRAGMA synchronous = {'FULL' if self._mode == 'record' else 'NORMAL'}"
            )
            if self._mode == "replay":
                connection.execute("PRAGMA query_only = ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Create the table in a new file. Other processes wait."""
        try:
            if _pragma(connection, "journal_mode") != "wal":
                _pragma(connection, "journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                connection.execute(_SCHEMA)
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise

    def _check(self, connection: sqlite3.Connection) -> None:
        if _pragma(connection, "application_id") != _APPLICATION_ID:
            raise ValueError(f"{self.path} is another program's SQLite file; choose another path")
        version = _pragma(connection, "user_version")
        if version != SCHEMA_VERSION:
            raise ValueError(
                f"{self.path} has schema version {version}, expected {SCHEMA_VERSION}; use the "
                "version of this package that wrote the file, or record the pages again"
            )

    def _read(
        self, connection: sqlite3.Connection, fingerprint: str, request: SearchRequest
    ) -> Answer | None:
        sql = "SELECT page FROM pages WHERE key = ?"
        row = connection.execute(sql, (_key(fingerprint, request),)).fetchone()
        if row is None:
            return None
        try:
            return _page_from_json(row[0])
        except (ValueError, TypeError, KeyError) as error:
            return SearchError(
                f"the recorded page of {request.query!r} in {self.path} is damaged ({error}); "
                "record it again in another file"
            )


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # isolation_level None: transactions are explicit. The store's lock guards the threads.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )


def _pragma(connection: sqlite3.Connection, pragma: str) -> Any:
    return connection.execute(f"PRAGMA {pragma}").fetchone()[0]


def _key(fingerprint: str, request: SearchRequest) -> bytes:
    parts = (
        fingerprint,
        request.query,
        request.question,
        request.answers,
        request.useful,
        request.seed,
        # Left out if it is the default, so that pages recorded by earlier versions are found.
        *(() if request.noise_kind == "irrelevant" else (request.noise_kind,)),
        *(() if request.document is None else (document_to_json(request.document),)),
    )
    return blake2b(json.dumps(parts).encode(), digest_size=20).digest()


def _page_to_json(page: SearchPage) -> str:
    try:
        documents = [document_to_json(document) for document in page.documents]
        return json.dumps({"engine": page.engine, "documents": documents})
    except (TypeError, ValueError, AttributeError) as error:
        raise SearchError(
            f"a page of engine {page.engine!r} cannot be recorded: {error}; expected strings and "
            "metadata JSON values in its documents"
        ) from error


def _page_from_json(text: str) -> SearchPage:
    value = json.loads(text)
    documents = tuple(map(document_from_json, value["documents"]))
    return SearchPage(documents, SearchCost(cached=True), value["engine"])
