"""
One page of measurements, docs/performance.md, written by several commands, each its own section.

A section stands between two markers; whoever writes one leaves the others as they are.
"""

from __future__ import annotations

import os
from pathlib import Path
import re

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
    temporary = page.with_name(f'.{page.name}.new')
    temporary.write_text(text, encoding='utf-8')
    os.replace(temporary, page)
