"""
Badges of the README, from what files of the repository say; no service is asked for them.

Usage: python tools/docs_site/badges.py writes docs/images/badges/*.svg; a test compares them.
"""

from __future__ import annotations

from pathlib import Path
import re
import xml.etree.ElementTree as ElementTree

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / 'docs' / 'images' / 'badges'
_HEIGHT = 20
# Pixels of a narrow character and of the others; `textLength` makes it so in any font.
_NARROW, _WIDE = 4.1, 6.9
_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img" '
    'aria-label="{name}: {value}">\n'
    '  <title>{name}: {value}</title>\n'
    '  <clipPath id="corners"><rect width="{width}" height="{height}" rx="3"/></clipPath>\n'
    '  <g clip-path="url(#corners)">\n'
    '    <rect width="{split}" height="{height}" fill="#455a64"/>\n'
    '    <rect x="{split}" width="{rest}" height="{height}" fill="#00796b"/>\n'
    '  </g>\n'
    '  <g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">\n'
    '    <text x="6" y="14" textLength="{name_length}">{name}</text>\n'
    '    <text x="{value_x}" y="14" textLength="{value_length}">{value}</text>\n'
    '  </g>\n'
    '</svg>\n')


def facts() -> dict[str, tuple[str, str]]:
    """Return what the badges say, file name to the text on the left and on the right."""
    manifest = ElementTree.parse(ROOT / 'package.xml').getroot()
    setup = (ROOT / 'tools' / 'setup_venv.sh').read_text(encoding='utf-8')
    first, last = re.findall(r'\((3), (\d+)\)', setup)
    distros = sorted(
        path.stem.removeprefix('ros-').capitalize()
        for path in (ROOT / 'requirements').glob('ros-*.txt'))
    return {
        'license': ('license', manifest.findtext('license') or ''),
        'python': ('Python', f'{".".join(first)} to {".".join(last)}'),
        'ros': ('ROS 2', ', '.join(distros)),
        'version': ('version', manifest.findtext('version') or ''),
    }


def badge(name: str, value: str) -> str:
    """
    Return a badge as SVG, 20 pixels high.

    :param name: the text on the left; neither text holds what XML would read as markup.
    :param value: the text on the right.
    """
    name_length, value_length = (
        round(sum(_NARROW if character in ' ,.-fijlrst' else _WIDE for character in text))
        for text in (name, value))
    split, rest = name_length + 12, value_length + 12
    return _SVG.format(
        name=name, value=value, height=_HEIGHT, width=split + rest, split=split, rest=rest,
        name_length=name_length, value_length=value_length, value_x=split + 6)


def main() -> None:
    """Write the badges."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file, (name, value) in facts().items():
        (FOLDER / f'{file}.svg').write_text(badge(name, value), encoding='utf-8')


if __name__ == '__main__':
    main()
