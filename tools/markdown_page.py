"""
Pages of measurements in docs/, written by several commands, each its own sections.

A section stands between two markers; whoever writes one leaves the others as they are.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
import json
from pathlib import Path
import re
from typing import Any, Optional

from resnet_trt_node.atomic_file import whole_file

_TITLE = '# Performance\n\nEvery figure here was written by a command; none by hand.\n'


def write_section(page: Path, name: str, markdown: str, command: str) -> None:
    """
    Replace a section of the page, or add it at the end; a page that is not there is begun.

    :param page: the Markdown file.
    :param name: one word that names the section in its markers.
    :param markdown: what stands between the markers, headings from level two on.
    :param command: what writes this section, for the reader of the source.
    """
    text = page.read_text(encoding='utf-8') if page.exists() else _TITLE
    section = (f'<!-- begin {name}: written by {command}; not by hand -->\n\n'
               f'{markdown.strip()}\n\n<!-- end {name} -->\n')
    pattern = re.compile(
        rf'<!-- begin {re.escape(name)}:.*?<!-- end {re.escape(name)} -->\n', re.DOTALL)
    if pattern.search(text):
        # As a function, since the text may hold backslashes.
        text = pattern.sub(lambda match: section, text, count=1)
    else:
        text = f'{text.rstrip()}\n\n{section}'
    with whole_file(page) as temporary:
        temporary.write_text(text, encoding='utf-8')


def has_section(page: Path, name: str) -> bool:
    """Tell whether a page has a section of this name."""
    return f'<!-- begin {name}:' in page.read_text(encoding='utf-8')


def table(head: Sequence[str], rows: Iterable[Iterable[object]]) -> list[str]:
    """Return the lines of a table; None is an empty cell."""
    return [f'| {" | ".join("" if cell is None else str(cell) for cell in row)} |'
            for row in (head, ['---'] * len(head), *rows)]


def read_json(path: Path) -> Any:
    """Return what a JSON file holds."""
    return json.loads(path.read_text(encoding='utf-8'))


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all, its folder too."""
    with whole_file(path) as temporary:
        temporary.write_text(
            json.dumps(document, indent=2, ensure_ascii=False) + '\n', encoding='utf-8')


def add_results(
        description: Optional[str], folder: Path,
        build: Callable[[str, str, list[Any]], dict[str, Any]],
        words: Optional[list[str]]) -> Path:
    """
    Read the command line of a page whose sections come from JSON files, and keep new results.

    :param folder: of the JSON files, below the page's.
    :param build: makes a file's content of the section's title, the Markdown below it and the
        documents of --add.
    :param words: the command line, None for the process's own.
    :returns: the page's folder.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('docs', type=Path, help='folder of the page')
    parser.add_argument('--name', help='one word for the section')
    parser.add_argument('--title', help="the section's heading")
    parser.add_argument('--note', default='', help='Markdown below it')
    parser.add_argument(
        '--add', type=Path, nargs='+', default=[], metavar='JSON', help='results of a run')
    arguments = parser.parse_args(words)
    docs: Path = arguments.docs
    if arguments.add:
        if not arguments.name or not arguments.title:
            parser.error('--add needs --name and --title')
        try:
            kept = build(
                arguments.title, arguments.note, [read_json(path) for path in arguments.add])
        except ValueError as error:
            parser.error(str(error))
        write_json(docs / folder / f'{arguments.name}.json', kept)
    if not any((docs / folder).glob('*.json')):
        parser.error(f'there is nothing in {docs / folder}: pass --add')
    return docs
