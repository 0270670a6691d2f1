"""
Write the comparison of backends into docs/performance.md, with its plot, from the JSON of a run.

Usage: python3 -m tools.compare_page [docs], after `resnet_trt compare ... --out DIR` and
DIR/compare.json copied to docs/performance/compare.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from resnet_trt_node.compare.plot import draw
from resnet_trt_node.compare.report import markdown
from resnet_trt_node.compare.session import FORMAT
from tools.performance_section import write_section

TITLE = 'TVM against TensorRT'
_RESULTS = Path('performance') / 'compare.json'
_PLOT = 'performance_compare.png'


def section(document: dict[str, Any]) -> str:
    """
    Return the section as Markdown.

    :param document: as `resnet_trt compare --json` prints it.
    """
    if document.get('format') != FORMAT:
        raise ValueError(
            f'the comparison has format {document.get("format")!r}, this reads {FORMAT}: measure '
            'again, or use the version that wrote it')
    return markdown(document, TITLE, level=2, plot=_PLOT)


def write_comparison(docs: Path) -> bool:
    """
    Write section and plot if there are results.

    :param docs: the folder of performance.md.
    :returns: whether there were.
    """
    results = docs / _RESULTS
    if not results.exists():
        return False
    document = json.loads(results.read_text(encoding='utf-8'))
    text = section(document)
    picture = draw(document)
    if picture is None:
        raise ModuleNotFoundError('the plot needs matplotlib: pip install matplotlib')
    (docs / _PLOT).write_bytes(picture)
    write_section(
        docs / 'performance.md', 'compare', text,
        f'tools/compare_page.py from docs/{_RESULTS}')
    return True


def main() -> None:
    """Write section and plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'docs', type=Path, nargs='?', default=Path('docs'), help='where performance.md is')
    docs = parser.parse_args().docs
    if not write_comparison(docs):
        parser.error(f'there is no {docs / _RESULTS}: copy compare.json of a run there')
    print(f'wrote the section into {docs / "performance.md"}')


if __name__ == '__main__':
    main()
