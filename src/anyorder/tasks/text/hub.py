"""Documents of a data set of the Hugging Face hub, or of a local folder in the same format, streamed record by record.

Uses the library ``datasets`` (extra ``hf``), which is imported here and only when it is asked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from anyorder.core.errors import UserError

from .sources import Document


def hub_documents(
    name: str, *, config: str | None = None, split: str = "train", column: str = "text", limit: int | None = None
) -> Iterator[Document]:
    """The records of a data set, one document each, without downloading the whole of it.

    Args:
        name: a hub id ("owner/name"), or a folder of data files (JSON lines, CSV, Parquet, text).
        config: the configuration of a data set that has several.
        split: which part of it.
        column: the field that holds the text.
        limit: stop after so many records.

    Raises:
        UserError: ``datasets`` is not installed, there is no such data set, configuration, split or column, or a
            record's text is no text.
    """
    try:
        import datasets
    except ImportError:
        raise UserError(
            "reading hub data sets needs the library datasets: pip install 'anyorder[hf]', or give plain files"
        ) from None
    # Its errors come from many libraries (network, Arrow, file systems); all of them mean that the data cannot be had.
    with _refusing(name):
        stream = datasets.load_dataset(name, config, split=split, streaming=True)
    records = iter(stream)
    number = 0
    while limit is None or number < limit:
        with _refusing(name):
            record = next(records, None)
        if record is None:
            return
        number += 1
        if column not in record:
            raise UserError(f"{name}, record {number}: no column {column!r}; it has {', '.join(map(repr, record))}")
        if not isinstance(record[column], str):
            raise UserError(f"{name}, record {number}: column {column!r} holds no text but {record[column]!r:.40}")
        yield Document(f"{name}, record {number}", (record[column],))


@contextlib.contextmanager
def _refusing(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(f"cannot read the data set {name}: {reason}") from error
