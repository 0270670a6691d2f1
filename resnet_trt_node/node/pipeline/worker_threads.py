"""The named threads of a pipeline: started, waited for, and what they raise is kept."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import get_native_id, Thread
from time import monotonic
from typing import Callable, Container, Optional


class WorkerThreads:
    """
    Daemon threads, one for each loop.

    :param loops: what each thread runs, by its name.
    :param on_exception: called after an unexpected exception, on the thread that raised it.
    """

    def __init__(
            self, loops: Mapping[str, Callable[[], None]],
            on_exception: Callable[[], None]) -> None:
        self._on_exception = on_exception
        self._threads = {
            name: Thread(target=self._run, args=(name, loop), name=name, daemon=True)
            for name, loop in loops.items()}
        # With their tracebacks, which hold the frames that the threads were at: in progress until
        # the pipeline is closed, which counts them as failed.
        self._exceptions: list[BaseException] = []

    @property
    def unexpected_exception(self) -> Optional[BaseException]:
        """Return the first exception that ended a thread, None while all is well."""
        return self._exceptions[0] if self._exceptions else None

    def start(self) -> None:
        """Start all of them, once."""
        for thread in self._threads.values():
            if thread.ident is None:
                thread.start()

    def join(self, timeout_sec: float, but: Container[str] = ()) -> bool:
        """
        Wait for the end of all, or of all but some, not longer than that altogether.

        :returns: whether every one of them has ended.
        """
        deadline = monotonic() + timeout_sec
        for name, thread in self._threads.items():
            if thread.ident is not None and name not in but:
                thread.join(max(0.0, deadline - monotonic()))
        return not any(thread.is_alive() for thread in self._threads.values())

    def _run(self, name: str, loop: Callable[[], None]) -> None:
        # For `top -H` and the benchmark; before 3.14 Python does not show it. Where this is not
        # Linux, or /proc is hidden, nothing but the name is missing.
        with suppress(OSError):
            Path(f'/proc/self/task/{get_native_id()}/comm').write_text(name)
        self.guard(loop)

    def guard(self, work: Callable[[], None]) -> None:
        """Do some work of these threads on the calling one; an exception is treated as theirs."""
        try:
            work()
        except BaseException as error:  # noqa: B902  the node reports it and ends
            self._exceptions.append(error)
            self._on_exception()
