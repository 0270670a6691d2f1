"""The schemas of docs/reference/schemas, and documents that follow them."""

from __future__ import annotations

from functools import cache
import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

SCHEMAS = Path(__file__).parents[3] / 'docs' / 'reference' / 'schemas'


@cache
def load_schemas() -> dict[str, Any]:
    """Return every schema by the name of its document."""
    return {path.stem: json.loads(path.read_text(encoding='utf-8'))
            for path in sorted(SCHEMAS.glob('*.json'))}


def checked(text: str) -> Any:
    """
    Return a document of a command or file, which has to follow the schema that it names.

    :param text: JSON; a number that JSON does not know, such as NaN, is refused.
    """
    document = json.loads(text, parse_constant=_refuse)
    package, _, name = document['format'].partition('.')
    assert package == 'resnet_trt', document['format']
    schemas = load_schemas()
    registry: Registry[Any] = Registry().with_resources(
        (f'{one}.json', Resource.from_contents(schema)) for one, schema in schemas.items())
    faults = [f'{fault.json_path}: {fault.message:.300}' for fault in Draft202012Validator(
        schemas[name], registry=registry).iter_errors(document)]
    assert not faults, '; '.join(faults)
    return document


def _refuse(word: str) -> None:
    raise AssertionError(f'{word} is not JSON')
