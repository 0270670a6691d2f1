"""
Write the commands of docs/reference/command-line.md from their parsers.

Usage: python3 -m tools.command_line_page docs
"""

from __future__ import annotations

from pathlib import Path
import sys

from resnet_trt_node.cli.main import COMMANDS, parser_for
from resnet_trt_node.cli.support.parser import CommandParser
from tools.markdown_page import table, write_section


def commands() -> str:
    """Return the sections of all commands as Markdown."""
    return '\n'.join(
        _section(name, text, parser_for(name).commands[name]) for name, text in COMMANDS.items())


def _section(name: str, text: str, parser: CommandParser) -> str:
    lines = [f'## {name}', '', f'{text[0].upper()}{text[1:]}.', '']
    if parser.epilog:
        lines += [parser.epilog, '']
    # Shell comments, so that the whole block can be pasted.
    lines += ['```sh']
    for command, effect in parser.examples:
        lines += [f'# {effect}', command]
    lines += ['```', '']
    for title, description, arguments in parser.groups():
        if title != 'help':
            head = f'{title}: {description}' if description else title
            lines += [*table((_cell(head), ''), (
                (f'`{_cell(written)}`', _cell(meaning)) for written, meaning in arguments)), '']
    return '\n'.join(lines)


def _cell(text: str) -> str:
    """Escape what would end a cell or be taken for HTML."""
    return text.replace('|', '\\|').replace('<', '&lt;')


if __name__ == '__main__':
    write_section(
        Path(sys.argv[1]) / 'reference' / 'command-line.md', 'commands', commands(),
        'tools/command_line_page.py from the parsers')
