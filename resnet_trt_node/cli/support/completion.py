"""
Completion of the command line by argcomplete, for bash and zsh.

`eval "$(register-python-argcomplete resnet_trt)"` has the shell call `resnet_trt` with what was
typed so far in its environment. Files are completed by what the help calls the value.
"""

from __future__ import annotations

from argparse import Action
import os
from typing import Callable, Collection, Optional

from argcomplete import autocomplete
from argcomplete.completers import DirectoriesCompleter, FilesCompleter, SuppressCompleter
from resnet_trt_node.cli.support.parser import CommandParser

#: What the help calls a value, to the endings of the files that it may be; none for any file.
_FILES: dict[str, tuple[str, ...]] = {
    'MODEL': ('onnx',), 'MODEL.onnx': ('onnx',), 'IN.onnx': ('onnx',), 'OUT.onnx': ('onnx',),
    'TSV': ('tsv',), 'TABLE': ('tsv', 'csv', 'txt'), 'DIR|ZIP': ('zip',),
    'FILE.npz': ('npz',), 'OUT.json': ('json',),
    'INPUT': (), 'BAG': (), 'DIR|ZIP|BAG': (), 'DIR|ZIP|BAG|NPZ': (), 'FILE': (), 'OUT': (),
    'WEIGHTS': ()}


def complete(
        commands: Collection[str],
        parser_for: Callable[[Optional[str]], CommandParser]) -> None:
    """
    Print what the word at the cursor may become, and end the process.

    :param commands: names of all commands.
    :param parser_for: returns the parser with the arguments of one command.
    """
    typed = os.environ['COMP_LINE'][:int(os.environ['COMP_POINT'])].split()
    asked = next((word for word in typed[1:] if word in commands), None)
    parser = parser_for(asked)
    if asked is not None:
        for action in parser.commands[asked].actions:
            _complete_files(action)
    # Without a completer: numbers, names of topics and the like.
    autocomplete(parser, default_completer=SuppressCompleter())


def _complete_files(action: Action) -> None:
    word = str(action.metavar)
    if word == 'DIR':
        action.completer = DirectoriesCompleter()  # type: ignore[attr-defined]
    elif word in _FILES:
        action.completer = FilesCompleter(_FILES[word])  # type: ignore[attr-defined]
