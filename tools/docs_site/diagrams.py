"""
Pictures of the Mermaid diagrams in the pages, for the site: it loads no script from elsewhere.

`python tools/docs_site/diagrams.py` writes those that are missing into docs/images/diagrams and
removes those that no page has any more. It needs npm, which fetches Mermaid's command line, and a
Chromium, named in PUPPETEER_EXECUTABLE_PATH; neither is needed to build the site. GitHub draws the
diagrams from their text.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
import json
import os
from pathlib import Path
import re
import subprocess
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / 'docs' / 'images' / 'diagrams'
#: A diagram's text, between its fences.
DIAGRAM = re.compile(r'^```mermaid\n(.*?)^```$', re.DOTALL | re.MULTILINE)
_COMMAND = 'npx', '--yes', '@mermaid-js/mermaid-cli@11.17.0'
# Labels as SVG text: HTML in an SVG is not drawn where that is an image.
_SETTINGS = {
    'htmlLabels': False, 'theme': 'neutral',
    'flowchart': {'htmlLabels': False, 'useMaxWidth': False,
                  'nodeSpacing': 40, 'rankSpacing': 32, 'subGraphTitleMargin': {'bottom': 8}}}


def picture_of(text: str) -> Path:
    """
    Return where the picture of a diagram lies, whether it is there or not.

    :param text: the diagram between its fences; the name is its digest, so that no picture is of
        an older text.
    """
    return FOLDER / f'{sha256(text.encode()).hexdigest()[:12]}.svg'


def diagrams() -> Iterator[str]:
    """Yield the text of every diagram of the README and of docs/."""
    for page in (ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))):
        yield from DIAGRAM.findall(page.read_text(encoding='utf-8'))


def _draw(text: str, picture: Path) -> None:
    with TemporaryDirectory() as folder:
        settings, browser = Path(folder, 'mermaid.json'), Path(folder, 'browser.json')
        settings.write_text(json.dumps(_SETTINGS), encoding='utf-8')
        browser.write_text(json.dumps({'args': ['--no-sandbox']}), encoding='utf-8')
        subprocess.run(
            [*_COMMAND, '--quiet', '--configFile', settings, '--puppeteerConfigFile', browser,
             '--backgroundColor', 'transparent', '--input', '-', '--output', picture],
            input=text, text=True, check=True,
            env={**os.environ, 'PUPPETEER_SKIP_DOWNLOAD': '1'})


def main() -> None:
    """Write the missing pictures and remove the others."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = {picture_of(text): text for text in diagrams()}
    for picture, text in wanted.items():
        if not picture.exists():
            _draw(text, picture)
    for picture in {*FOLDER.glob('*.svg')} - {*wanted}:
        picture.unlink()


if __name__ == '__main__':
    main()
