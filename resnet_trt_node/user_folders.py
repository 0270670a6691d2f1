"""Folders of the user who runs this: home and cache, and paths that begin with a ~."""

from __future__ import annotations

import os
from pathlib import Path

from resnet_trt_node.errors import UsageError


def home_folder() -> Path:
    """
    Return the user's home.

    :raises UsageError: if it is unknown, as for a user who is in no list of users.
    """
    try:
        return Path.home()
    except RuntimeError as error:
        raise UsageError('the home folder of this user is unknown: set HOME') from error


def user_cache() -> Path:
    """
    Return this package's folder in the user's cache, by the XDG rules.

    :raises UsageError: if the home is needed and unknown.
    """
    cache = os.environ.get('XDG_CACHE_HOME', '')
    # The rules say that a relative path is to be ignored.
    base = Path(cache) if os.path.isabs(cache) else home_folder() / '.cache'
    return base / 'resnet_trt_node'


def full_path(name: str, given: str) -> Path:
    """
    Return the path that a parameter or argument names, with its ~ expanded.

    :param name: what the path was given as.
    :param given: the path.
    :raises UsageError: for the ~ of an unknown user.
    """
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise UsageError(
            f'{name}: the home folder in {given!r} is unknown: write the path in full') from error
