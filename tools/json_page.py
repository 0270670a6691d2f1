"""
Write docs/reference/json.md from docs/reference/schemas: a section of keys for each document.

Usage: python3 -m tools.json_page docs/reference
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import sys
from typing import Any

from resnet_trt_node.atomic_file import whole_file
from resnet_trt_node.json_document import JSON_VERSION
from tools.markdown_page import read_json, table

SCHEMAS, PAGE, SHARED = 'schemas', 'json.md', 'common'
#: The beginning of the page, without the version.
_INTRO = Path(__file__).with_name('json_page_intro.md')


def page(folder: Path) -> str:
    """
    Return the page.

    :param folder: of the schemas.
    """
    schemas = {path.stem: read_json(path) for path in sorted(folder.glob('*.json'))}
    intro = _INTRO.read_text(encoding='utf-8').replace('VERSION', str(JSON_VERSION))
    parts = [intro]
    for name, schema in schemas.items():
        if name == SHARED:
            continue
        rows = [
            (f'`{key}`' if required else f'*`{key}`*', _type(value), _text(value))
            for key, value, required in _keys(schema, schema, schemas)
            if key not in ('format', 'version')]
        parts += [
            f'## {name}\n', f'{schema["title"]}. [Schema]({SCHEMAS}/{name}.json)\n',
            f'```sh\n{schema["$comment"]}\n```\n',
            *table(('key', 'type', 'meaning'), rows), '']
    return '\n'.join(parts)


def _keys(
        value: dict[str, Any], root: dict[str, Any], schemas: dict[str, Any],
        path: str = '') -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Give path, schema and whether it is always there, of every key below a value."""
    for key, one in value.get('properties', {}).items():
        found, its_root = _resolved(one, root, schemas)
        yield path + key, found, key in value.get('required', ())
        yield from _below(found, its_root, schemas, path + key)
    others = value.get('additionalProperties')
    if isinstance(others, dict):
        found, its_root = _resolved(others, root, schemas)
        if value.get('properties') or found.get('description'):
            yield f'{path}*', found, not value.get('properties')
        yield from _below(found, its_root, schemas, f'{path}*')


def _below(
        value: dict[str, Any], root: dict[str, Any], schemas: dict[str, Any],
        path: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
    if 'items' in value:
        item, root = _resolved(value['items'], root, schemas)
        yield from _keys(item, root, schemas, f'{path}[].')
    yield from _keys(value, root, schemas, f'{path}.')


def _resolved(
        value: dict[str, Any], root: dict[str, Any],
        schemas: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a value refers to, described as it is here, and the schema that it is in."""
    if '$ref' not in value:
        return value, root
    file, _, place = value['$ref'].partition('#/')
    root = schemas[file.removesuffix('.json')] if file else root
    found = root
    for part in place.split('/'):
        found = found[part]
    return {**found, **{name: one for name, one in value.items() if name != '$ref'}}, root


def _type(value: dict[str, Any]) -> str:
    if 'enum' in value:
        return ', '.join(f'`"{choice}"`' for choice in value['enum'])
    kinds = value['type'] if isinstance(value['type'], list) else [value['type']]
    return ' or '.join(kinds)


def _text(value: dict[str, Any]) -> str:
    text = str(value['description']).replace('|', '\\|')
    # Those of the schemas end as sentences, cells of a table do not.
    return text.removesuffix('.') if text.count('. ') == 0 else text


def main(words: list[str]) -> None:
    """Write the page."""
    folder, = map(Path, words)
    with whole_file(folder / PAGE) as temporary:
        temporary.write_text(page(folder / SCHEMAS), encoding='utf-8')


if __name__ == '__main__':
    main(sys.argv[1:])
