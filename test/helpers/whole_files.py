"""
Workers of pytest-xdist that take whole files and may die, as a plugin of pytest.

After the death of a worker `--dist loadfile` of pytest-xdist 3.8 gives a file of which all tests
have run to another one, which waits for ever then, as the whole run does. And it has no
`mark_test_pending`, without which pytest-rerunfailures cannot repeat the test that ended it.
"""

from __future__ import annotations

from typing import Any

import pytest

try:
    from xdist.scheduler import LoadFileScheduling
except ImportError:
    # The tests on a GPU machine run without pytest-xdist.
    LoadFileScheduling = object


class WholeFiles(LoadFileScheduling):  # type: ignore[misc]
    """Gives what a dead worker has left to others; the test that ended it counts as run."""

    def remove_node(self, node: Any) -> str | None:
        """Forget a worker; return the test in which it died, None if it was done."""
        left = {file: tests for file, tests in self.assigned_work.pop(node).items()
                if not all(tests.values())}
        if not left:
            return None
        file, tests = next(iter(left.items()))
        died_in = next(test for test, has_run in tests.items() if not has_run)
        tests[died_in] = True
        if all(tests.values()):
            del left[file]
        # They are given out once the worker that takes the place of this one is ready.
        self.workqueue.update(left)
        return died_in

    def mark_test_pending(self, item: str) -> None:
        """Have a test run that counted as run."""
        self.workqueue.setdefault(self._split_scope(item), {})[item] = False

    def _reschedule(self, node: Any) -> None:
        # A worker begins a test when it knows the next one, or that there is none. One that has
        # just taken the place of another one has collected no tests yet.
        while (node in self.registered_collections and not node.shutting_down
               and self._pending_of(self.assigned_work[node]) <= 2):
            super()._reschedule(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> WholeFiles | None:
    """Take the place of pytest-xdist's own --dist loadfile."""
    return WholeFiles(config, log) if config.getoption('dist') == 'loadfile' else None
