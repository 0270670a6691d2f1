"""
Write comparisons of backends into docs/performance.md, with their plots.

What `resnet_trt compare ... --out DIR` left in DIR/compare.json becomes
docs/performance/compare/NAME.json, and that the page's section compare-NAME.

Usage: python3 -m tools.compare_page docs --name NAME --title TITLE --add DIR/compare.json
       python3 -m tools.compare_page docs        (writes the page from the files that are there)
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
import re
from typing import Any, Optional

from resnet_trt_node.compare.plot import draw
from resnet_trt_node.compare.report import markdown
from resnet_trt_node.compare.session import FORMAT
from tools.accuracy_page import short_path
from tools.performance_section import write_section

_FOLDER = Path('performance') / 'compare'
#: Absolute ones: the pictures', and an interpreter's in BACKEND@PYTHON.
_PATH = re.compile(r'(?<=[\s@])/[^\s,]+')


def section(kept: dict[str, Any], plot: str) -> str:
    """
    Return a comparison's section as Markdown.

    :param kept: `title`, `note` (Markdown below the heading, may be empty) and `comparison`, as
        `resnet_trt compare --json` prints it.
    :param plot: the picture's file, beside the page.
    :raises ValueError: if the comparison is of another version.
    """
    document = kept['comparison']
    if document.get('format') != FORMAT:
        raise ValueError(
            f'the comparison has format {document.get("format")!r}, this reads {FORMAT}: measure '
            'again, or use the version that wrote it')
    text = markdown(document, kept['title'], level=2, plot=plot)
    heading, _, rest = text.partition('\n')
    note = f'\n{kept["note"]}\n' if kept['note'] else ''
    return f'{heading}\n{note}{rest}'


def plot_of(name: str) -> str:
    """Return the file of a comparison's plot, beside the page."""
    return f'performance_compare_{name}.png'


def write_comparisons(docs: Path) -> int:
    """
    Write sections and plots of all comparisons there are.

    :param docs: the folder of performance.md.
    :returns: how many there are.
    """
    files = sorted((docs / _FOLDER).glob('*.json'))
    for file in files:
        kept = json.loads(file.read_text(encoding='utf-8'))
        text = section(kept, plot_of(file.stem))
        picture = draw(kept['comparison'])
        if picture is None:
            raise ModuleNotFoundError('the plot needs matplotlib: pip install matplotlib')
        (docs / plot_of(file.stem)).write_bytes(picture)
        write_section(
            docs / 'performance.md', f'compare-{file.stem}', text,
            f'tools/compare_page.py from docs/{_FOLDER}/{file.name}')
    return len(files)


def _portable(document: dict[str, Any]) -> dict[str, Any]:
    """Shorten the paths of the command, which hold on one machine only."""
    command = _PATH.sub(lambda match: short_path(match.group()), document['command'])
    return {**document, 'command': command}


def main(words: Optional[list[str]] = None) -> None:
    """Keep a new comparison, if there is one, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('docs', type=Path, help='folder of performance.md')
    parser.add_argument('--name', help='one word for the comparison')
    parser.add_argument('--title', help="the section's heading")
    parser.add_argument('--note', default='', help='Markdown below it')
    parser.add_argument('--add', type=Path, metavar='JSON', help='compare.json of a run')
    arguments = parser.parse_args(words)
    if arguments.add is not None:
        if not arguments.name or not arguments.title:
            parser.error('--add needs --name and --title')
        kept = {
            'title': arguments.title, 'note': arguments.note,
            'comparison': _portable(json.loads(arguments.add.read_text(encoding='utf-8')))}
        path = arguments.docs / _FOLDER / f'{arguments.name}.json'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + '\n', encoding='utf-8')
    if not write_comparisons(arguments.docs):
        parser.error(f'there is nothing in {arguments.docs / _FOLDER}: pass --add compare.json')


if __name__ == '__main__':
    main()
