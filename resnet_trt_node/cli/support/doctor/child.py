"""
The process that tries one import out; run as a file, with nothing of this package loaded.

Its argument is JSON: the seconds it may take, where modules are searched, the names of modules
that are missing rather than broken, and the code.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

#: Stands before the result on stdout: libraries print there too.
MARK = 'resnet_trt doctor: '


def version(name: str) -> str:
    """Return the version of an installed distribution."""
    from importlib.metadata import PackageNotFoundError, version as installed
    try:
        return installed(name)
    except PackageNotFoundError:
        # As it is, it would look like the error of a missing module.
        return 'of unknown version'


def main() -> None:
    """Run the code and print what it left in `found`, or what is wrong."""
    limit_s, paths, modules, code = json.loads(sys.argv[1])
    signal.alarm(limit_s)
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
    print(MARK + json.dumps([state, found]), flush=True)
    # Without the library's own teardown, which is not what was asked for.
    os._exit(0)


if __name__ == '__main__':
    main()
