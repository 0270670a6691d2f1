"""The site is built without a warning, its links lead somewhere, and it fetches nothing."""

from __future__ import annotations

from html.parser import HTMLParser
from importlib.util import find_spec
import json
import os
from pathlib import Path
import re
import sys
from urllib.parse import unquote, urlsplit

import pytest
from repository import REPOSITORY
import stalled

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec('mkdocs') is None,
        reason='MkDocs is not installed: make venv brings it on Python 3.11 and later')]

#: What a browser fetches by itself, unlike the target of an <a>.
FETCHED = {'script', 'img', 'link', 'iframe', 'source', 'audio', 'video', 'object', 'embed'}
MODULES = {
    module for page in (REPOSITORY / 'docs' / 'reference' / 'api').glob('*.md')
    for module in re.findall(r'^::: (\S+)$', page.read_text(encoding='utf-8'), re.MULTILINE)}


class _Page(HTMLParser):
    """A page's links, as (tag, address), and what a link may point to in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.anchors: set[str] = set()
        self.classes: set[str] = set()
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ('href', 'src', 'srcset', 'data') and value:
                self.links.append((tag, value))
            elif name == 'id' or (name == 'name' and tag == 'a'):
                self.anchors.add(value or '')
            elif name == 'class':
                self.classes.update((value or '').split())


@pytest.fixture(scope='module')
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the built site."""
    folder = tmp_path_factory.mktemp('site') / 'site'
    result = stalled.run(
        [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', str(folder)],
        cwd=REPOSITORY, env={**os.environ, 'NO_MKDOCS_2_WARNING': '1'})
    assert result.returncode == 0, result.stdout + result.stderr
    assert 'WARNING' not in result.stdout + result.stderr
    return folder


@pytest.fixture(scope='module')
def pages(site: Path) -> dict[Path, _Page]:
    """Return the pages by their paths; that of unknown addresses is for a server's root."""
    return {path: _Page(path) for path in site.rglob('*.html') if path.name != '404.html'}


def test_links_lead_somewhere(site: Path, pages: dict[Path, _Page]) -> None:
    dead, checked = [], 0
    for path, page in pages.items():
        for _, link in page.links:
            address = urlsplit(link)
            if address.scheme or address.netloc:
                continue
            checked += 1
            target = Path(os.path.normpath(
                path.parent / unquote(address.path))) if address.path else path
            if target.is_dir():
                target /= 'index.html'
            found = target.is_file() and target.is_relative_to(site)
            anchor = unquote(address.fragment)
            # Browsers take an unknown one for the top of the page where it is `__...`, a button.
            if not found or (anchor and target in pages and anchor not in pages[target].anchors):
                dead.append(f'{path.relative_to(site)}: {link}')
    assert dead == []
    assert checked > 1000


def test_nothing_is_fetched_from_elsewhere(site: Path, pages: dict[Path, _Page]) -> None:
    addresses = {link for page in pages.values() for tag, link in page.links if tag in FETCHED}
    assert {link for link in addresses if urlsplit(link).scheme not in ('', 'data')} == set()
    for sheet in site.rglob('*.css'):
        assert re.findall(r'(?:url\(|@import )["\']?(?:https?:)?//[^)]*', sheet.read_text()) == []
    # The theme's script loads Mermaid, or a reader for other browsers, where a page has the class.
    assert not any('mermaid' in page.classes for page in pages.values())


def test_search_leads_to_pages_that_exist(site: Path) -> None:
    entries = json.loads((site / 'search' / 'search_index.json').read_text())['docs']
    assert len(entries) > 200
    missing = {entry['location'].partition('#')[0] for entry in entries} - {
        '', *(path.relative_to(site).as_posix() for path in site.rglob('*.html'))}
    assert missing == set()


def test_reference_has_every_public_name(pages: dict[Path, _Page]) -> None:
    """What has no docstring would be left out of it."""
    assert len(MODULES) > 40
    anchors = {anchor for page in pages.values() for anchor in page.anchors}
    public = re.compile(r'^(?:async )?(?:def|class) ([A-Za-z]\w*)', re.MULTILINE)
    names = {
        f'{module}.{name}' for module in MODULES for name in public.findall(
            (REPOSITORY / f'{module.replace(".", "/")}.py').read_text(encoding='utf-8'))}
    assert names - anchors == set()
