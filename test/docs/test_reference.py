"""What the reference shows is documented: each public name, and each of its parameters."""

from __future__ import annotations

import ast
from collections.abc import Iterator
import re

import pytest
from repository import REPOSITORY

MODULES = sorted(
    module for page in (REPOSITORY / 'docs' / 'reference' / 'api').glob('*.md')
    for module in re.findall(r'^::: (\S+)$', page.read_text(encoding='utf-8'), re.MULTILINE))


def _public(body: list[ast.stmt], within: str = '') -> Iterator[tuple[str, str, list[str]]]:
    """Yield name, docstring and parameters of the public classes and functions."""
    for node in body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef)) or node.name.startswith('_'):
            continue
        text = ast.get_docstring(node) or ''
        if isinstance(node, ast.FunctionDef):
            yield within + node.name, text, _arguments(node)
            continue
        fields = [
            item.target.id for item in node.body if isinstance(item, ast.AnnAssign)
            and isinstance(item.target, ast.Name) and not item.target.id.startswith('_')
            and 'ClassVar' not in ast.dump(item.annotation)]
        made = [argument for item in node.body if isinstance(item, ast.FunctionDef)
                and item.name == '__init__' for argument in _arguments(item)]
        yield within + node.name, text, made or fields
        yield from _public(node.body, f'{within}{node.name}.')


def _arguments(function: ast.FunctionDef) -> list[str]:
    names = [argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)]
    return [name for name in names if name not in ('self', 'cls')]


@pytest.mark.parametrize('module', MODULES)
def test_all_is_documented(module: str) -> None:
    path = REPOSITORY / f'{module.replace(".", "/")}.py'
    faults = []
    for name, text, parameters in _public(ast.parse(path.read_text(encoding='utf-8')).body):
        missing = [one for one in parameters if f':param {one}:' not in text]
        # The summary of a function of one parameter may say all.
        if not text or (missing and (len(parameters) > 1 or ':param' in text)):
            faults.append(f'{name}: {", ".join(missing)}')
    assert faults == []
