"""The named threads of a pipeline: started, waited for, and their unforeseen errors kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import get_native_id, Thread
from time import monotonic
from typing import Callable, Iterable, Optional


class WorkerThreads:
    """
    Daemon threads, one for each loop.

    :param loops: what each thread runs, by its name.
    :param on_fault: called after an error that nobody foresaw, on the thread that raised it.
    """

    def __init__(
            self, loops: Mapping[str, Callable[[], None]], on_fault: Callable[[], None]) -> None:
        self._on_fault = on_fault
        self._threads = {
            name: Thread(target=self._guard, args=(name, loop), name=name, daemon=True)
            for name, loop in loops.items()}
        # With their tracebacks, which hold the frames that the threads were at: in progress until
        # the pipeline is closed, which counts them as failed.
        self._faults: list[BaseException] = []

    @property
    def fault(self) -> Optional[BaseException]:
        """Return the first unforeseen error that ended a thread, None while all is well."""
        return self._faults[0] if self._faults else None

    def start(self, names: Iterable[str]) -> None:
        """Start threads."""
        for name in names:
            self._threads[name].start()

    def started(self, name: str) -> bool:
        """Tell whether a thread was started."""
        return self._threads[name].ident is not None

    @property
    def running(self) -> bool:
        """Tell whether any of them runs."""
        return any(thread.is_alive() for thread in self._threads.values())

    def join(self, timeout_sec: float, but: Iterable[str] = ()) -> None:
        """Wait for the end of all, or of all but some, not longer than that altogether."""
        deadline = monotonic() + timeout_sec
        for name, thread in self._threads.items():
            if self.started(name) and name not in but:
                thread.join(max(0.0, deadline - monotonic()))

    @contextmanager
    def faults_kept(self) -> Iterator[None]:
        """Keep an error that nobody foresaw for the node to report, and raise it."""
        try:
            yield
        except BaseException as error:
            self._faults.append(error)
            self._on_fault()
            raise

    def _guard(self, name: str, loop: Callable[[], None]) -> None:
        _show_name(name)
        # It has nobody above to tell.
        with suppress(BaseException), self.faults_kept():
            loop()


def _show_name(name: str) -> None:
    """Name the calling thread for `top -H` and the benchmark; before 3.14 Python does not."""
    try:
        Path(f'/proc/self/task/{get_native_id()}/comm').write_text(name)
    except OSError:
        # Not Linux, or /proc is hidden: nothing but the name is missing.
        pass
