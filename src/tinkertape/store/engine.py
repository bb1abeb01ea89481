"""Opens ClickHouse's engine, embedded (chDB), through `clickhouse-connect`.

Threads  one client writes, under its own lock, and others beside it what is on its way (`take_writer`); readers take a
         client from a small pool and give it back, so that a page never waits for an insert.
Fork     a child must not use them: the engine's threads stay behind (spawn instead).
Modes    the engine makes files by the umask, from threads of its own and whenever it merges: the umask of the process
         is 0077 while a store is open.
One engine path a process: the engine's own rule.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver import options
from clickhouse_connect.driver.exceptions import ClickHouseError

from tinkertape.config import open_private
from tinkertape.errors import StoreError

CONFIG_FILE = "tinkertape.xml"
# The engine's defaults are a server's: 5 GB of marks, nine tenths of the memory (facts/performance.md §6), and pools of
# a hundred threads, which a busy moment fills and nothing empties: 20 MB after half a minute of 8 333 events a second.
CONFIG = b"""<clickhouse>
<max_server_memory_usage>2000000000</max_server_memory_usage>
<mark_cache_size>67108864</mark_cache_size>
<primary_index_cache_size>67108864</primary_index_cache_size>
<index_mark_cache_size>16777216</index_mark_cache_size>
<vector_similarity_index_cache_size>0</vector_similarity_index_cache_size>
<text_index_tokens_cache_size>0</text_index_tokens_cache_size>
<text_index_header_cache_size>0</text_index_header_cache_size>
<text_index_postings_cache_size>0</text_index_postings_cache_size>
<query_condition_cache_size>16777216</query_condition_cache_size>
<compiled_expression_cache_size>16777216</compiled_expression_cache_size>
<threadpool_local_fs_reader_pool_size>4</threadpool_local_fs_reader_pool_size>
<prefetch_threadpool_pool_size>4</prefetch_threadpool_pool_size>
<load_marks_threadpool_pool_size>4</load_marks_threadpool_pool_size>
</clickhouse>
"""
READ_SETTINGS = {
    "max_threads": "2",
    "max_memory_usage": "1000000000",
    "max_execution_time": "60",
    "do_not_merge_across_partitions_select_final": "1",  # the same key has the same time, so the same partition
}
WRITE_SETTINGS = {
    "max_threads": "2",
    "max_memory_usage": "1000000000",
    "max_partitions_per_insert_block": "0",  # a body with odd times must not stop the loader
    "do_not_merge_across_partitions_select_final": "1",
}
READERS = 3
OPTIONAL_MODULES = {"pd": "pandas", "np": "numpy", "arrow": "pyarrow", "pl": "polars"}


class Writer:
    """A client that changes the store, one statement at a time."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def write(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Run a statement that changes something. Raises `StoreError`."""
        with _as_store_error("write"):
            self.client.command(sql, parameters=dict(parameters or {}))

    def read(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query, of this client's temporary tables for example. Raises `StoreError`."""
        with _as_store_error("read"):
            rows: list[tuple[Any, ...]] = self.client.query(sql).result_rows
            return rows


class Engine:
    """The open engine of one folder."""

    def __init__(self, folder: Path) -> None:
        """Start the engine in `folder`, which the caller has locked. Raises `StoreError`."""
        self._folder = folder
        self._former_umask = os.umask(0o077)
        self._config = folder / CONFIG_FILE
        self._leave_out_data_frames()
        try:
            self._write_config()
            with _WithoutArrow():
                self._writer = Writer(self._connect(WRITE_SETTINGS))
        except (ClickHouseError, OSError, RuntimeError) as error:
            os.umask(self._former_umask)
            reason = str(error).strip().splitlines()
            raise StoreError(
                f"cannot open {folder}: {reason[0] if reason else 'the engine gives no reason'}; "
                "is another program using it? choose another folder with --store"
            ) from error
        self._readers: queue.LifoQueue[Any] = queue.LifoQueue()  # None: one that is not connected yet
        for _ in range(READERS):
            self._readers.put(None)
        self._writers: queue.LifoQueue[Writer] = queue.LifoQueue()  # those that nobody has

    def _write_config(self) -> None:
        descriptor = open_private(self._config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            os.write(descriptor, CONFIG)
        finally:
            os.close(descriptor)

    @staticmethod
    def _leave_out_data_frames() -> None:
        """The first insert would import pandas and pyarrow to ask whether it is given a data frame: 0.8 s and 58 MB."""
        for name, module in OPTIONAL_MODULES.items():
            if module not in sys.modules:
                setattr(options, name, None)

    def _connect(self, settings: Mapping[str, str]) -> Any:
        return clickhouse_connect.get_client(
            interface="chdb",
            path=str(self._folder),
            settings=dict(settings),
            chdb_options={"config-file": str(self._config)},
        )

    @contextlib.contextmanager
    def _reader(self) -> Iterator[Any]:
        client = self._readers.get()
        try:
            if client is None:
                client = self._connect(READ_SETTINGS)
            yield client
        finally:
            self._readers.put(client)  # None again when it could not connect: the next one tries

    def read(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """The rows of a query. Raises `StoreError`."""
        with _as_store_error("read"), self._reader() as client:
            rows: list[tuple[Any, ...]] = client.query(sql, parameters=dict(parameters or {})).result_rows
            return rows

    def write(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Run a statement that changes something. Raises `StoreError`."""
        self._writer.write(sql, parameters)

    def insert(self, table: str, names: Sequence[str], columns: Sequence[Sequence[Any]]) -> None:
        """Insert columns of equal length; on return they are in the table and synced. Raises `StoreError`."""
        with _as_store_error("insert into"):
            self._writer.client.insert(table, columns, column_names=list(names), column_oriented=True)

    def take_writer(self) -> Writer:
        """A client that writes beside the others, until `give_writer`; nobody else sees its temporary tables. Raises
        `StoreError`."""
        with contextlib.suppress(queue.Empty):
            return self._writers.get_nowait()
        with _as_store_error("write"):
            return Writer(self._connect(WRITE_SETTINGS))

    def give_writer(self, writer: Writer) -> None:
        """Whoever took it is done."""
        self._writers.put(writer)

    def close(self) -> None:
        """Stop the engine; queries that run are waited for."""
        with contextlib.suppress(ClickHouseError):
            while not self._readers.empty():
                if (client := self._readers.get_nowait()) is not None:
                    client.close()
            while not self._writers.empty():
                self._writers.get_nowait().client.close()
            self._writer.client.close()
        os.umask(self._former_umask)


class _WithoutArrow:
    """While it is entered no pyarrow is found by this thread. The engine's package imports it, if it is there, and that
    numpy, for results of a kind that nobody asks for here: 0.4 s and 39 MB.
    """

    def __enter__(self) -> None:
        self._thread = threading.get_ident()
        sys.meta_path.insert(0, self)

    def __exit__(self, *raised: object) -> None:
        sys.meta_path.remove(self)

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """As an import asks; None: others may know it."""
        if name == "pyarrow" and threading.get_ident() == self._thread:
            raise ModuleNotFoundError("left out by tinkertape", name=name)


@contextlib.contextmanager
def _as_store_error(what: str) -> Iterator[None]:
    try:
        yield
    except (ClickHouseError, RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()
        raise StoreError(f"cannot {what} the store: {reason[0] if reason else type(error).__name__}") from error
