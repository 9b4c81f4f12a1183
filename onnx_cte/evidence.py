"""What was measured, kept in one SQLite file, so that nothing is measured twice or lost.

A row is the evidence of one estimator on one image under one model. Its key is a hash of all that
determines it (model file, description, image, labels, options, seed, version of this package), so
a change in any of these is measured afresh, and an interrupted run goes on where it stopped.
"""

import base64
import hashlib
import io
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from onnx_cte.bank import Evidence
from onnx_cte.errors import OutputError

_TABLE = (
    "CREATE TABLE IF NOT EXISTS evidence (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
)


def evidence_key(*parts: str | int) -> str:
    """Hash of all that determines a piece of evidence.

    Parameters
    ----------
    *parts : str or int
        In an order that is always the same.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> evidence_key("a", "bc") == evidence_key("ab", "c")
    False
    """
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class EvidenceStore:
    """Evidence in an SQLite file, one transaction an image.

    Parameters
    ----------
    path : Path or None
        The file, made if it is not there; None keeps evidence in memory, for one run.

    Raises
    ------
    OutputError
        If the file cannot be made or is no evidence file.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        try:
            # No implicit transactions: each is opened and committed where it is meant.
            self._connection = sqlite3.connect(path or ":memory:", timeout=60, isolation_level=None)
        except sqlite3.Error as error:
            raise OutputError(f"evidence file {path} cannot be opened: {error}") from error
        try:
            # A write-ahead log survives a kill, and needs no wait for the disk at each image.
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute(_TABLE)
        except sqlite3.Error as error:
            self._connection.close()
            raise OutputError(
                f"evidence file {path} cannot be used: {error}; move it away to start afresh"
            ) from error

    def get(self, key: str) -> Evidence | None:
        """The evidence under a key, or None; OutputError if the file is damaged."""
        try:
            row = self._connection.execute(
                "SELECT value FROM evidence WHERE key = ?", (key,)
            ).fetchone()
            return None if row is None else _decode(row[0])
        except (sqlite3.Error, ValueError, KeyError, TypeError, EOFError) as error:
            raise OutputError(
                f"evidence file {self.path} is damaged: {error}; move it away to start afresh"
            ) from error

    def put(self, found: Mapping[str, Evidence]) -> None:
        """Keep evidence by key, all of it or, if the process dies meanwhile, none.

        Raises
        ------
        OutputError
            If it cannot be written (a full disk, say).
        """
        rows = [(key, _encode(value)) for key, value in found.items()]
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT OR REPLACE INTO evidence VALUES (?, ?)", rows)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise OutputError(f"evidence file {self.path} cannot be written: {error}") from error

    def close(self) -> None:
        """Close the file; the store is not used afterwards."""
        self._connection.close()

    def __enter__(self) -> "EvidenceStore":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _encode(evidence: Evidence) -> str:
    """Write evidence as JSON; floats keep every bit, arrays are .npy in base64."""
    return json.dumps({name: _plain(value) for name, value in evidence.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        buffer = io.BytesIO()
        np.save(buffer, value, allow_pickle=False)
        return {"npy": base64.b64encode(buffer.getvalue()).decode("ascii")}
    return value.item() if isinstance(value, np.generic) else value


def _decode(text: str) -> Evidence:
    found: dict[str, Any] = dict(json.loads(text))
    for name, value in found.items():
        if isinstance(value, dict):
            raw = io.BytesIO(base64.b64decode(value["npy"]))
            found[name] = np.load(raw, allow_pickle=False)
    return found
