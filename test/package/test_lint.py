"""The linters are content with every Python file of the repository."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
import os
from pathlib import Path
import shutil
import sys

import pytest
import stalled

FOLDERS = ['launch', 'resnet_trt_node', 'test', 'tools']

#: What runs on older JetPack, with Python 3.9; the rest needs ROS 2's 3.10.
PYTHON_39 = [f'resnet_trt_node/{part}' for part in (
    'atomic_file.py', 'closing.py', 'errors.py', 'interrupt.py', 'regular_file.py', 'backends',
    'compare', 'contract', 'datasets', 'downloads', 'evaluation', 'imaging', 'labels',
    'onnx_tools', 'regions', 'text', 'training')]

#: Linter to its arguments.
LINTERS = {
    'ruff': ['check', '--no-fix', '.'],
    'mypy': [],
    'ament_flake8': ['--linelength', '99', 'setup.py', *FOLDERS],
    'ament_pep257': ['setup.py', *FOLDERS],
    'vermin': ['--target=3.9-', '--violations', '--no-tips', *PYTHON_39],
}


@pytest.mark.slow
@pytest.mark.parametrize('linter', LINTERS)
def test_linter_is_content(repository: Path, linter: str) -> None:
    """The linter ends with 0; its output is shown otherwise."""
    # This environment's linters before those of a sourced ROS 2.
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    program = shutil.which(linter, path=path)
    if program is None:
        pytest.skip(f'{linter} is not installed: make venv brings it')
    result = stalled.run([program, *LINTERS[linter]], cwd=repository)
    # What is wrong comes first, then the names of all files.
    said = '\n'.join((result.stdout + result.stderr).splitlines()[:60])
    if result.returncode:
        pytest.fail(f'{linter}:\n{said}', pytrace=False)


def _run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Give a syntax tree's nodes without annotations, which the future import leaves text."""
    yield node
    for field, value in ast.iter_fields(node):
        if field not in ('annotation', 'returns'):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _run_time_nodes(child)


def _is_type(node: ast.expr) -> bool:
    """Tell whether an operand of `|` is None or a built-in type, so that `|` makes a union."""
    if isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Constant):
        return node.value is None
    return isinstance(node, ast.Name) and node.id in {
        'bool', 'bytes', 'dict', 'float', 'frozenset', 'int', 'list', 'set', 'str', 'tuple'}


def test_no_unions_at_run_time(repository: Path) -> None:
    """`X | None` as an expression needs Python 3.10; vermin takes every `|` of numbers for one."""
    faults = []
    roots = [repository / name for name in PYTHON_39]
    paths = [path for root in roots for path in ([root] if root.is_file() else root.rglob('*.py'))]
    for path in paths:
        tree = ast.parse(path.read_text(encoding='utf-8'), feature_version=(3, 9))
        faults += [
            f'{path}:{node.lineno}' for node in _run_time_nodes(tree)
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)
            and (_is_type(node.left) or _is_type(node.right))]
    assert faults == []


def test_files_stay_short(repository: Path) -> None:
    """A file that grows far beyond 300 lines has several subjects."""
    long_files = {}
    paths = [path for folder in ('resnet_trt_node', 'test', 'tools')
             for path in (repository / folder).rglob('*.py')]
    for path in paths:
        lines = len(path.read_text(encoding='utf-8').splitlines())
        if lines > 330:
            long_files[str(path.relative_to(repository))] = lines
    assert long_files == {}


def test_modules_on_the_import_path_have_names_of_their_own(
        pytestconfig: pytest.Config) -> None:
    """Of two helpers of one name the tests of one would get the other."""
    folders = [Path(folder) for folder in pytestconfig.getini('pythonpath')]
    modules = [path.stem for folder in folders for path in folder.glob('*.py')]
    packages = [path.parent.name for folder in folders for path in folder.glob('*/__init__.py')]
    names = Counter(name for name in (*modules, *packages) if name != '__init__')
    assert {'tiers', 'stand_ins'} <= set(names)
    assert [name for name, number in names.items() if number > 1] == []
