"""docs/reference/json.md and the schemas that it is written from."""

from __future__ import annotations

from pathlib import Path
import re
import shlex
from shutil import which
import subprocess
from typing import Any, Iterator

from documentation.json_schemas import checked, load_schemas, SCHEMAS
from jsonschema import Draft202012Validator
import pytest
from repository import REPOSITORY

from resnet_trt_node.cli.main import COMMANDS, FOLDERS, parser_for
from resnet_trt_node.cli.support.console import print_json
from tools.json_page import main, PAGE, page

DOCUMENT = {'labels': ['cat', 'dog'], 'counts': [[3, 0], [1, 2]]}


def objects(value: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every part of a schema that describes an object."""
    if isinstance(value, dict):
        if 'properties' in value:
            yield path, value
        for key, one in value.items():
            yield from objects(one, f'{path}.{key}')


@pytest.mark.parametrize('name', load_schemas())
def test_a_schema_describes_every_key_and_allows_no_others(name):
    schema = load_schemas()[name]
    Draft202012Validator.check_schema(schema)
    found = dict(objects(schema, name))
    assert found
    for path, one in found.items():
        # Those of `top` come from nodes, which may be of another version.
        assert one['additionalProperties'] is False or name == 'top', path
        assert set(one['required']) <= set(one['properties']), path
        for key, value in one['properties'].items():
            assert value.get('description'), f'{path}.{key}'


def test_the_page_is_what_the_schemas_say(tmp_path):
    assert page(SCHEMAS) == (SCHEMAS.parent / PAGE).read_text(encoding='utf-8'), (
        'run `python3 -m tools.json_page docs/reference`')
    (tmp_path / 'schemas').mkdir()
    for path in SCHEMAS.glob('*.json'):
        (tmp_path / 'schemas' / path.name).write_bytes(path.read_bytes())
    main([str(tmp_path)])
    assert Path(tmp_path / PAGE).read_text(encoding='utf-8') == page(SCHEMAS)


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_with_json_has_a_schema(command):
    parser = parser_for(command).commands[command]
    assert (command in load_schemas()) == ('--json' in parser.format_help())


def test_commands_that_end_with_1_are_named_on_both_pages():
    tools = (REPOSITORY / 'docs/how-to/offline-tools.md').read_text(encoding='utf-8')
    rule = re.search(r'stderr and exits.*?code 1\.', page(SCHEMAS).replace('\n', ' '))[0]
    row = re.search(r'^\| 1 \| (.*) Otherwise', tools, re.MULTILINE)[1]
    named = {*re.findall(r'`([a-z-]+)`:', row)}
    assert named == {*re.findall('`([a-z-]+)`', rule)}
    folder = REPOSITORY / 'resnet_trt_node' / 'cli'
    ending = {path.stem.replace('_', '-')
              for name in FOLDERS for path in (folder / name).glob('*.py')
              if re.search('return 0 if .* else', path.read_text(encoding='utf-8'))}
    assert {'fleet'} <= ending <= named


@pytest.mark.parametrize('command', [name for name in COMMANDS if ' ' not in name])
def test_the_page_of_the_tools_names_every_command(command):
    tools = (REPOSITORY / 'docs/how-to/offline-tools.md').read_text(encoding='utf-8')
    assert re.search(rf'`(resnet_trt )?{command}\b|resnet_trt {command} ', tools)


def test_what_does_not_follow_its_schema_is_noticed(capsys):
    def printed(**changes: Any) -> str:
        print_json('confusion', {**DOCUMENT, **changes})
        return capsys.readouterr().out
    assert list(checked(printed())) == ['format', 'version', 'labels', 'counts']
    for changes, keyword in (
            ({'more': 1}, 'more'), ({'labels': None}, 'labels'), ({'counts': [[0.5]]}, '0.5')):
        with pytest.raises(AssertionError, match=keyword):
            checked(printed(**changes))
    with pytest.raises(AssertionError, match='NaN'):
        checked(printed(counts=[[float('nan')]]))


@pytest.mark.slow
@pytest.mark.skipif(which('jq') is None, reason='jq is not installed')
@pytest.mark.parametrize('name', [name for name in load_schemas() if name != 'common'])
def test_the_filter_of_the_example_is_valid(name):
    words = shlex.split(load_schemas()[name]['$comment'])
    options = words[words.index('jq') + 1:]
    done = subprocess.run(
        ['jq', '-n', *[word for word in options if not word.endswith('.json')]],
        capture_output=True, text=True)
    # 3 is a syntax error, 5 that null has no such keys.
    assert done.returncode in (0, 5), done.stderr
