"""Parts of Markdown pages, for tests that hold the pages to the code."""

from __future__ import annotations

from pathlib import Path
import re

#: A link to a file or to a part of one; an address has a scheme.
_LINK = re.compile(r'\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)')
_HEADING = re.compile(r'^#+ (.*)$', re.MULTILINE)


def section(text: str, title: str) -> str:
    """Return what stands under a heading of level two."""
    return text.split(f'\n## {title}\n')[1].split('\n## ')[0]


def commands(text: str, *programs: str) -> list[str]:
    """Return the commands of programs, of fenced and indented blocks, each in one line."""
    return re.findall(
        rf'^(?:    )?((?:{"|".join(programs)}) .*)$', text.replace('\\\n', ' '), re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the names by which GitHub links to the headings of a page."""
    headings = _HEADING.findall(page.read_text(encoding='utf-8'))
    words = (re.sub(r'\]\([^)]*\)', '', heading) for heading in headings)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in words}


def dead_links(page: Path) -> list[str]:
    """Return the links of a page to files, and to headings in them, that are not there."""
    dead = []
    for path, anchor in _LINK.findall(page.read_text(encoding='utf-8')):
        target = page.parent / path if path else page
        if not target.exists() or (
                anchor and target.suffix == '.md' and anchor not in anchors(target)):
            dead.append(f'{path}#{anchor}' if anchor else path)
    return dead
