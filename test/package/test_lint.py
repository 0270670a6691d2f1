"""The linters are content with every Python file of the repository."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
import subprocess
import sys

import pytest

FOLDERS = ['launch', 'resnet_trt_node', 'test', 'tools']

#: What runs on older JetPack, with Python 3.9; the rest needs ROS 2's 3.10.
PYTHON_39 = ['resnet_trt_node/errors.py', 'resnet_trt_node/labels.py',
             'resnet_trt_node/inference', 'resnet_trt_node/model']

#: Linter to what `python -m` takes. The linters of ROS 2 have no `__main__`.
COMMANDS = {
    'ruff': ['ruff', 'check', '--no-fix', '.'],
    'mypy': ['mypy'],
    'ament_flake8': ['ament_flake8.main', '--linelength', '99', 'setup.py', *FOLDERS],
    'ament_pep257': ['ament_pep257.main', 'setup.py', *FOLDERS],
    'vermin': ['vermin', '--target=3.9-', '--violations', '--no-tips', *PYTHON_39],
}


@pytest.mark.parametrize('linter', COMMANDS)
def test_linter_is_content(repository: Path, linter: str) -> None:
    """The linter ends with 0; what it says is shown otherwise."""
    module, *arguments = COMMANDS[linter]
    if find_spec(module.split('.')[0]) is None:
        pytest.skip(f'{linter} is not installed: make venv brings it')
    program = [sys.executable, '-m', module]
    if module.endswith('.main'):
        program = [sys.executable, '-c', f'import sys, {module} as m; sys.exit(m.main())']
    result = subprocess.run(
        [*program, *arguments], cwd=repository, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, f'{linter}:\n{result.stdout}{result.stderr}'


def test_files_stay_short(repository: Path) -> None:
    """A file of the package that grows far beyond 300 lines does more than one thing."""
    long_files = {}
    for path in (repository / 'resnet_trt_node').rglob('*.py'):
        lines = len(path.read_text(encoding='utf-8').splitlines())
        if lines > 330:
            long_files[str(path.relative_to(repository))] = lines
    assert long_files == {}
