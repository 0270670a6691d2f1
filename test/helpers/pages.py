"""Parts of Markdown pages, for tests that hold the pages to the code."""

from __future__ import annotations

from pathlib import Path
import re

#: A link to a file, without the part behind #; an address has a scheme.
_LINK = re.compile(r'\]\((?!\w+:)([^)#\s]+)(?:#[^)]*)?\)')


def section(text: str, title: str) -> str:
    """Return what stands under a heading of level two."""
    return text.split(f'\n## {title}\n')[1].split('\n## ')[0]


def dead_links(page: Path) -> list[str]:
    """Return the links of a page to files that are not there."""
    return [link for link in _LINK.findall(page.read_text(encoding='utf-8'))
            if not (page.parent / link).exists()]
