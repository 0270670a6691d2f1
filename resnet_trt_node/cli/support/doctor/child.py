"""
The process that tries one import out; run as a file, with nothing of this package loaded.

Its argument is JSON: the seconds it may take, where modules are searched, the names of modules
that are missing rather than broken, and the code.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from typing import Any

#: How much of a message is passed on, so that it fits into the pipe.
_MOST = 1000


def version(name: str) -> str:
    """Return the version of an installed distribution."""
    from importlib.metadata import PackageNotFoundError, version as installed
    try:
        return installed(name)
    except PackageNotFoundError:
        # As it is, it would look like the error of a missing module.
        return 'of unknown version'


def main() -> None:
    """Run the code and write what it left in `found`, or what is wrong, to stdout."""
    limit_s, paths, modules, code = json.loads(sys.argv[1])
    signal.alarm(limit_s)
    # What crashes here leaves no file in the user's folder.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Libraries print as well.
    result = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.path[:] = paths
    values: dict[str, Any] = {'found': '', 'version': version}
    state = 'ok'
    try:
        exec(code, values)
        found = str(values['found'])
    except BaseException as error:  # noqa: B902  a library may raise anything, SystemExit too
        cause = error.__cause__ or error
        missing = isinstance(cause, ModuleNotFoundError) and cause.name in modules
        state = 'missing' if missing else 'broken'
        found = f'{type(error).__name__}: {error}'
    os.write(result, json.dumps([state, found[:_MOST]]).encode('ascii'))
    # Without the library's own teardown, which is not what was asked for.
    os._exit(0)


if __name__ == '__main__':
    main()
