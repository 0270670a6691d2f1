"""Names that users write: what to write instead of a former or wrong one."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Collection, Mapping, Optional

#: Former name of a parameter of the node, or of a launch argument, to its present one.
RENAMED_PARAMETERS = {
    'device_id': 'device', 'cpu_threads': 'threads', 'max_batch_size': 'batch_size'}
#: Former spelling of a command's option to the present one; it counts for the commands that have
#: the present one and not the former.
RENAMED_OPTIONS = {
    '--out': '--output', '--output-file': '--output', '--labels': '--all-labels',
    '--calibration': '--images', '--data': '--images', '--skip-corrupt': '--skip-bad',
    '--max-batch': '--batch-size', '--max-batch-size': '--batch-size',
    '--batch-sizes': '--batch-size', '--min-batch': '--min-batch-size',
    '--opt-batch': '--opt-batch-size', '--device-id': '--device', '--cpu-threads': '--threads',
    '--workers': '--threads'}


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
