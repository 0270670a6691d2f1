"""Names that users write: a former one is answered with its new name, a wrong one with a near one."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Collection, Mapping, Optional

#: Former name of a parameter of the node, or of a launch argument, to its present one.
RENAMED_PARAMETERS = {
    'device_id': 'device', 'cpu_threads': 'threads', 'max_batch_size': 'batch_size'}


def instead(
        word: str, known: Collection[str],
        renamed: Optional[Mapping[str, str]] = None) -> Optional[str]:
    """
    Return what to write instead of an unknown name, as the end of a message.

    :param word: the name that was written.
    :param known: the names that there are.
    :param renamed: former name to present one.
    :returns: None if nothing is like it.
    """
    present = (renamed or {}).get(word)
    if present in known:
        return f'it is called {present} now'
    close = get_close_matches(word, known, n=1)
    return f'did you mean {close[0]}?' if close else None
