"""
Hooks of MkDocs: files of the repository become pages of the site, since there is no other address.

Links in the pages are right for GitHub, relative to the file and also to files outside of docs/.
What such a link leads to becomes a page `repository/PATH`: Markdown as it is, a folder as its list
of files, other text as a listing. The diagrams of Mermaid become pictures, see diagrams.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import logging
import os
from pathlib import Path
import posixpath
import re

from diagrams import DIAGRAM, picture_of, ROOT
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DOCS = ROOT / 'docs'
#: Outside of docs/ and in the navigation, whether something links to them or not.
_IN_NAVIGATION = ('README.md', 'CHANGELOG.rst', 'CONTRIBUTING.md', 'SECURITY.md')
_REFERENCE = 'reference/api/'
_PICTURES = {'.gif', '.jpg', '.png', '.svg'}
_LANGUAGES = {
    '.json': 'json', '.py': 'python', '.sh': 'sh', '.toml': 'toml', '.xml': 'xml',
    '.yaml': 'yaml', '.yml': 'yaml', 'Makefile': 'make'}
# Code is left alone; then a link to a path, as Markdown or as an attribute of HTML.
_LINK = re.compile(
    r'^(?P<fence>`{3,}).*?^(?P=fence)$|`[^`\n]+`'
    r'|(?P<start>\]\(|\b(?:href|src)=")(?P<path>(?![a-z]+:|[#/])[^)\s"#]+)',
    re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r'^#+ (.+)$', re.MULTILINE)

_log = logging.getLogger('mkdocs.hooks')


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add a page for each file outside of docs/ that a page links to, and for those of these."""
    waiting = [ROOT / name for name in _IN_NAVIGATION]
    for file in files.documentation_pages():
        waiting += _targets(Path(file.abs_src_path or ''), file.content_string)
    while waiting:
        path = waiting.pop()
        uri = _uri_of(path)
        if files.get_file_from_path(uri) is not None:
            continue
        if path.suffix in _PICTURES:
            files.append(File.generated(config, uri, abs_src_path=str(path)))
            continue
        text, page = _as_markdown(path), path / 'files.md' if path.is_dir() else path
        waiting += _targets(page, text)
        files.append(File.generated(config, uri, content=_for_site(text, page)))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the links of a page of docs/ to the site's pages."""
    if page.file.src_uri.startswith(_REFERENCE):
        # Who searches wants a guide first; a title counts a thousandfold.
        page.meta['search'] = {'boost': 0.001}
    path = page.file.abs_src_path
    return _for_site(markdown, Path(path)) if path else markdown


def _is_in_docs(path: Path) -> bool:
    return path.is_relative_to(DOCS)


def _uri_of(path: Path) -> str:
    """Return the address of a file's page as MkDocs has it, by the name of its Markdown."""
    in_docs = _is_in_docs(path)
    # MkDocs leaves out what is hidden.
    parts = [part.lstrip('.') for part in path.relative_to(DOCS if in_docs else ROOT).parts]
    uri = posixpath.join('' if in_docs else 'repository', *parts)
    if path.is_dir():
        return posixpath.join(uri, 'files.md')
    if in_docs or path.suffix in {*_PICTURES, '.md'}:
        return uri
    return f'{uri[:-4]}.md' if path.suffix == '.rst' else f'{uri}.md'


def _targets(page: Path, text: str) -> Iterator[Path]:
    """Yield the files of the repository that a page links to."""
    for match in _LINK.finditer(text):
        path = _target(page, match['path'])
        if path is not None:
            yield path


def _target(page: Path, link: str | None) -> Path | None:
    path = Path(os.path.normpath(page.parent / link)) if link else None
    return path if path and path.is_relative_to(ROOT) and path.exists() else None


def _for_site(text: str, page: Path) -> str:
    """Return a page with links to the pages of the site; a dead one stays, for MkDocs to tell."""
    uri = _uri_of(page)

    def to_page(match: re.Match[str]) -> str:
        path = _target(page, match['path'])
        if path is None or (_is_in_docs(page) and _is_in_docs(path) and path.is_file()):
            return match[0]
        return match['start'] + posixpath.relpath(_uri_of(path), posixpath.dirname(uri))

    return DIAGRAM.sub(_to_picture(text, uri), _LINK.sub(to_page, text))


def _to_picture(text: str, uri: str) -> Callable[[re.Match[str]], str]:
    def to_picture(match: re.Match[str]) -> str:
        picture = picture_of(match[1])
        if not picture.exists():
            _log.warning(
                '%s has a diagram without a picture: run tools/docs_site/diagrams.py', uri)
        link = posixpath.relpath(_uri_of(picture), posixpath.dirname(uri))
        headings = _HEADING.findall(text, 0, text.find(match[0]))
        return f'![Diagram: {headings[-1] if headings else uri}]({link}){{ .diagram }}'

    return to_picture


def _as_markdown(path: Path) -> str:
    """Return a file, or the list of a folder's files, as Markdown."""
    if path.is_dir():
        names = sorted(child.name for child in path.iterdir() if child.is_file())
        return _titled(path, '\n'.join(f'- [{name}]({name})' for name in names))
    text = path.read_text(encoding='utf-8')
    if path.suffix == '.md':
        return text
    if path.suffix == '.rst':
        return _changelog(text)
    language = _LANGUAGES.get(path.suffix or path.name, 'text')
    return _titled(path, f'``````{language}\n{text.rstrip()}\n``````')


def _titled(path: Path, body: str) -> str:
    """Return a page that the site's search does not find: who searches wants words about it."""
    name = path.relative_to(ROOT).as_posix()
    return f'---\ntitle: {name}\nsearch: {{exclude: true}}\n---\n# `{name}`\n\n{body}\n'


def _changelog(text: str) -> str:
    """Return catkin's kind of changelog as Markdown, which differs little."""
    text = re.sub(r'\A\^+\n(.+)\n\^+\n', r'# \1\n', text)
    return text.replace('``', '`')
