"""
Write the tables of docs/reference/parameters.md from the declaration of the parameters.

The groups and their order are those of config/classify.yaml, so that a reader finds a parameter in
the same place in both.

Usage: python3 -m tools.parameters_page docs
"""

from __future__ import annotations

from dataclasses import Field
from pathlib import Path
import re
import sys
from typing import Any

from resnet_trt_node.node.ros.parameters.node_parameters import parameter_fields
from tools.markdown_page import table, write_section

_YAML_FILE = Path(__file__).resolve().parent.parent / 'config' / 'classify.yaml'
#: A heading of a group of parameters in that file, or a parameter with its default.
_LINE = re.compile(r'^    (?:# --- (?P<heading>.+) ---|(?P<name>\w+): .*)$', re.MULTILINE)


def groups(text: str) -> dict[str, list[str]]:
    """
    Return the names of the parameters by the heading that they stand under.

    :param text: what a file such as config/classify.yaml holds.
    """
    found: dict[str, list[str]] = {}
    names: list[str] = []
    for line in _LINE.finditer(text):
        if line['heading']:
            names = found.setdefault(line['heading'], [])
        else:
            names.append(line['name'])
    return found


def tables() -> str:
    """Return the tables of all parameters as Markdown, one for each group."""
    fields = parameter_fields()
    lines = []
    for heading, names in groups(_YAML_FILE.read_text(encoding='utf-8')).items():
        lines += [f'## {heading[0].upper()}{heading[1:]}', '', *table(
            ('parameter', 'default', 'values', 'read', 'meaning'),
            (_row(fields[name]) for name in names)), '']
    return '\n'.join(lines)


def _row(parameter: Field[Any]) -> tuple[str, str, str, str, str]:
    metadata = parameter.metadata
    return (
        f'`{parameter.name}`', f'`{shown(parameter.default)}`', _values(parameter),
        '**live**' if metadata['live'] else 'start' if metadata['at_start'] else 'configure',
        metadata['description'])


def shown(value: Any) -> str:
    """Return a default as a parameter file writes it."""
    if value == ():
        return '[]'
    return str(value).lower() if isinstance(value, bool) else str(value) or "''"


def _values(parameter: Field[Any]) -> str:
    metadata, default = parameter.metadata, parameter.default
    if metadata['choices']:
        return ', '.join(f'`{choice}`' for choice in metadata['choices'])
    if metadata['low'] is not None:
        return f'{metadata["low"]} to {metadata["high"]}'
    if isinstance(default, bool):
        return '`true`, `false`'
    return 'list of strings' if isinstance(default, tuple) else 'string'


if __name__ == '__main__':
    write_section(
        Path(sys.argv[1]) / 'reference' / 'parameters.md', 'parameters', tables(),
        'tools/parameters_page.py from node/ros/parameters/node_parameters.py')
