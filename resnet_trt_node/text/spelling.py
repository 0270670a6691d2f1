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
#: What other tools call a command or an option, to what it is called here.
OTHER_WORDS = {
    'run': 'classify', 'predict': 'classify', 'infer': 'classify', 'test': 'evaluate',
    'validate': 'evaluate', 'benchmark': 'compare', 'convert': 'prepare', 'info': 'inspect',
    'show': 'inspect', 'play': 'replay', 'download': 'fetch', 'help': '--help',
    'version': '--version', '--gpu': '--device', '--dataset': '--images', '--samples': '--limit',
    '--model': '--arch', '--fp16': '--precision', '--half': '--precision', '--speed': '--rate',
    '--save': '--output', '--classes': '--labels'}


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
    if OTHER_WORDS.get(word) in known:
        return f'did you mean {OTHER_WORDS[word]}?'
    # The dashes of options would make them alike.
    plain = {one.lstrip('-'): one for one in known}
    close = get_close_matches(word.lstrip('-'), plain, n=1)
    return f'did you mean {plain[close[0]]}?' if close else None
