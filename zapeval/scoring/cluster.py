"""A Dask cluster: runs scoring tasks on its workers and gives their cells in order.

Cells are put side by side and never added, so there is nothing to merge on the way: which worker
did a task, how often it was done and in which order can't move a bit.
"""

from __future__ import annotations

import importlib.metadata
import re
import secrets
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self, final

from zapeval.errors import NotFound, Refused, UsageError
from zapeval.scoring.parcel import Parcel, Work, pack, run_parcel, unpack
from zapeval.scoring.tally import Cell
from zapeval.scoring.task import Task, forget

if TYPE_CHECKING:
    from distributed import Client, Future

AHEAD = 2
"""Tasks under way for each thread of a worker: one runs, one waits so that it never idles."""

CONNECT_SECONDS = 10.0
PATIENCE = 60.0
"""Longest time in seconds without any worker."""

_LOOK_SECONDS = 2.0
_ADDRESS = re.compile(r"(?:(?:tcp|tls|ucx|ws|wss)://)?(?:\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}/?")


@final
class Cluster:
    """A Dask cluster while it is connected to; ``map`` is what score() takes as ``run``.

    Args:
        address: Address of its scheduler: ``tcp://host:8786`` or ``tls://host:8786``.
        connect: Longest time in seconds to reach the scheduler.
        patience: Longest time in seconds without any worker.

    Raises:
        UsageError: Dask is not installed, or the address is none.
    """

    def __init__(
        self, address: str, *, connect: float = CONNECT_SECONDS, patience: float = PATIENCE
    ) -> None:
        if find_spec("distributed") is None:
            raise UsageError('dask: needs dask.distributed; pip install "zapeval[dask]"')
        # Looked at here: Dask's client does not end cleanly where it can't parse its address.
        if not _ADDRESS.fullmatch(address):
            raise UsageError(
                f"dask: {address!r} is no address of a scheduler; expected tcp://host:port"
            )
        self.address = address
        self._connect = connect
        self._patience = patience

    def __enter__(self) -> Self:
        """Connects, and checks that every worker can do the work.

        Raises:
            NotFound: No scheduler answers at the address, or it has no worker.
            Refused: A worker or the scheduler has no zapeval, or another version.
        """
        self._client = _client(self.address, self._connect)
        self._looked, self._threads = -_LOOK_SECONDS, 0
        self._seen = time.monotonic()
        try:
            while not self._room():
                time.sleep(0.1)
            self._check_versions()
        except BaseException:
            self._client.close()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        self._client.close()

    def map(self, work: Work, tasks: Iterable[Task]) -> Iterator[tuple[Cell, ...]]:
        """Yields the cells of each task in order; a few tasks a thread are under way at a time.

        Raises:
            Refused: Workers died of a task, the scheduler went away, or software differs.
            NotFound: No worker is left, or one does not see a store.
            ZapevalError: What the work raises, that of the earliest task first.
        """
        waiting = deque(enumerate(tasks))
        runs = {task.run for _, task in waiting}
        under_way: dict[Future[bytes], int] = {}
        done: dict[int, tuple[Cell, ...] | Exception] = {}
        for number in range(len(waiting)):
            while number not in done:
                room = self._room()
                while waiting and len(under_way) < room:
                    index, task = waiting.popleft()
                    under_way[self._submit(pack(work, task))] = index
                for future in self._finished(list(under_way)):
                    done[under_way.pop(future)] = self._outcome(future)
            found = done.pop(number)
            if isinstance(found, Exception):
                self._forget(runs, found)
                raise found
            yield found
        self._forget(runs)

    def _submit(self, parcel: Parcel) -> Future[bytes]:
        # A name of its own: Dask would give the result of an equal task of an earlier run.
        key = f"zapeval-score-{secrets.token_hex(8)}"
        return self._client.submit(_work, parcel, key=key)

    def _finished(self, futures: list[Future[bytes]]) -> list[Future[bytes]]:
        """Returns those that are done, waiting for a while if none is."""
        from distributed import wait

        if not futures:
            time.sleep(0.1)
        # An outcome says why it was cancelled.
        with self._client.as_current(), suppress(TimeoutError, CancelledError):
            wait(futures, timeout=_LOOK_SECONDS, return_when="FIRST_COMPLETED")
        return [future for future in futures if future.done()]

    def _outcome(self, future: Future[bytes]) -> tuple[Cell, ...] | Exception:
        """Returns the cells of a task that is done, or why there are none."""
        while True:
            try:
                return unpack(future.result(timeout=_LOOK_SECONDS))
            except Exception as error:
                if future.status == "error":
                    return self._said(error)
                if not isinstance(error, TimeoutError):
                    raise self._lost() from error
                self._room()  # the worker died with the result: another makes it again

    def _room(self) -> int:
        """Returns how many tasks may be under way.

        Raises:
            NotFound: There has been no worker for too long.
            Refused: The scheduler does not answer.
        """
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS or not self._threads:
            try:
                self._threads = sum(self._client.nthreads().values())
            except Exception as error:
                raise self._lost() from error
            self._looked = now
        if self._threads:
            self._seen = now
        elif now - self._seen >= self._patience:
            raise NotFound(
                f"{self.address}: has had no worker for {self._patience:g} s; start some with "
                f"`dask worker {self.address}`, and score again"
            )
        return AHEAD * self._threads

    def _check_versions(self) -> None:
        # A function of the standard library: who has no zapeval could not load one of ours.
        ask = importlib.metadata.version
        found = self._client.run(ask, "zapeval", on_error="return")
        runs = [(f"worker {worker}", version) for worker, version in sorted(found.items())]
        # The scheduler opens what it passes on, so it needs zapeval as well.
        with suppress(ValueError):  # it may be told to run nothing
            try:
                runs.append(("the scheduler", self._client.run_on_scheduler(ask, "zapeval")))
            except ImportError as error:
                runs.append(("the scheduler", error))
        ours = ask("zapeval")
        for who, version in runs:
            if version != ours:
                has = "has no zapeval" if isinstance(version, Exception) else f"runs {version}"
                raise Refused(
                    f"{who}: {has}, but the command is zapeval {ours}; install the same there with "
                    f'`pip install "zapeval[dask]=={ours}"`, and start it again'
                )

    def _forget(self, runs: set[str], error: Exception | None = None) -> None:
        """Has workers let go of what the tasks of runs shared, where they can be reached still."""
        if isinstance(error, Refused):
            return
        with suppress(OSError):  # all is computed: a scheduler that ends now takes nothing away
            for run in runs:
                self._client.run(forget, run, on_error="ignore")

    def _said(self, error: Exception) -> Exception:
        """Returns the error of a task, as one of ours where Dask made it."""
        from distributed import KilledWorker

        if isinstance(error, KilledWorker):
            said = Refused(
                f"{self.address}: {error.allowed_failures + 1} workers died one after the other of "
                f"the same task, the last was {error.last_worker.address}; most often memory ran "
                "out: start workers with fewer threads or a higher --memory-limit"
            )
        elif isinstance(error, ModuleNotFoundError):
            said = Refused(f"{self.address}: a worker lacks a package: {error}; install it there")
        else:
            return error
        said.__cause__ = error
        return said

    def _lost(self) -> Refused:
        return Refused(f"{self.address}: the scheduler went away; start it again, and score again")


def _work(parcel: Parcel) -> bytes:
    from distributed import get_worker

    return run_parcel(parcel, get_worker().address)


def _client(address: str, seconds: float) -> Client:
    from distributed import Client

    try:
        return Client(address, timeout=seconds, set_as_default=False)
    except (OSError, ValueError) as error:
        raise NotFound(
            f"{address}: no Dask scheduler answers there: {_first_line(error)}; start one with "
            "`dask scheduler`, and give the address that it prints"
        ) from error


def _first_line(error: Any) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
