"""
Write comparisons of backends into docs/performance.md, with their plots.

What `resnet_trt compare ... -o DIR` left in DIR/compare.json becomes
docs/performance/compare/NAME.json, and that the page's section compare-NAME.

Usage: python3 -m tools.compare_page docs --name NAME --title TITLE --add DIR/compare.json
       python3 -m tools.compare_page docs        (writes the page from the files that are there)
"""

from __future__ import annotations

from pathlib import Path
import re
from typing import Any, Optional

from resnet_trt_node.compare.plot import draw
from resnet_trt_node.compare.report import markdown
from resnet_trt_node.json_document import json_document
from tools.accuracy_page import short_path
from tools.markdown_page import add_results, read_json, write_section

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
    for key, value in json_document('compare', {}).items():
        if document.get(key) != value:
            raise ValueError(
                f'the comparison has {key} {document.get(key)!r}, this reads {value!r}: measure '
                'again, or use the version that wrote it')
    text = markdown(document, kept['title'], level=2, plot=plot)
    heading, _, rest = text.partition('\n')
    note = f'\n{kept["note"]}\n' if kept['note'] else ''
    return f'{heading}\n{note}{rest}'


def plot_of(name: str) -> str:
    """Return the file of a comparison's plot, beside the page."""
    return f'performance_compare_{name}.png'


def write_comparisons(docs: Path) -> None:
    """Write sections and plots of all comparisons into performance.md of a folder."""
    for file in sorted((docs / _FOLDER).glob('*.json')):
        kept = read_json(file)
        picture = draw(kept['comparison'])
        if picture is None:
            raise ModuleNotFoundError('the plot needs matplotlib: pip install matplotlib')
        (docs / plot_of(file.stem)).write_bytes(picture)
        write_section(
            docs / 'performance.md', f'compare-{file.stem}', section(kept, plot_of(file.stem)),
            f'tools/compare_page.py from docs/{_FOLDER}/{file.name}')


def _kept(title: str, note: str, documents: list[Any]) -> dict[str, Any]:
    """Return what is kept, with shortened paths in the command: they hold on one machine only."""
    if len(documents) > 1:
        raise ValueError('a section holds one comparison: pass one file')
    document = documents[0]
    command = _PATH.sub(lambda match: short_path(match.group()), document['command'])
    return {'title': title, 'note': note, 'comparison': {**document, 'command': command}}


def main(words: Optional[list[str]] = None) -> None:
    """Keep a new comparison, if there is one, and write the page."""
    write_comparisons(add_results(__doc__, _FOLDER, _kept, words))


if __name__ == '__main__':
    main()
