"""
Who may import whom, downward only; docs/architecture.md has the picture.

Once by reading the sources, which also sees imports inside functions, and once by importing each
layer while the libraries that it must do without are out of reach.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
import re
import subprocess
import sys

import pytest

NAME = 'resnet_trt_node'
BASE = {'errors', 'interrupt', 'labels', 'text', 'regular_file', 'atomic_file', 'closing',
        'json_document', 'user_folders', 'cdr', 'allocator'}
GRAPHS = {'contract', 'imaging', 'evaluation', *BASE}
RUNTIMES = {'backends', 'datasets', *GRAPHS}

#: Layer to the other layers that it may import; modules directly in the package are layers too.
LAYERS = {
    'text': set(),
    'errors': {'text'},
    'interrupt': set(),
    'closing': set(),
    'json_document': set(),
    'regular_file': set(),
    'atomic_file': {'errors'},
    'cdr': {'errors'},
    'allocator': {'errors'},
    'user_folders': {'errors'},
    'labels': {'errors', 'text', 'regular_file'},
    'evaluation': BASE,
    'contract': BASE,
    'imaging': {'contract', *BASE},
    'datasets': {'imaging', 'contract', *BASE},
    'regions': {'imaging', 'contract', *BASE},
    'downloads': {'contract', *BASE},
    'backends': GRAPHS,
    'onnx_tools': RUNTIMES,
    'bag': {'regions', *RUNTIMES},
    'compare': RUNTIMES,
    'fleet': {'bag', 'regions', *RUNTIMES},
    'training': {'onnx_tools', 'downloads', *RUNTIMES},
    'node': {'regions', *RUNTIMES},
    'launch_support': {'node', 'regions', *RUNTIMES},
    'cli': {'regions', 'node', 'bag', 'compare', 'fleet', 'training', 'onnx_tools', 'downloads',
            'launch_support', *RUNTIMES},
}

#: Modules that join two layers side by side: replay plays a bag into ROS.
JOINTS = {'bag.replay': {'node'}}

#: Library, as a pattern of its top-level name, to the modules that may import it.
LIBRARIES = {
    r'rclpy|rcl_interfaces|\w+_(msgs|srvs)|builtin_interfaces|cv_bridge':
        r'node\..*|bag\.replay',
    r'launch|launch_ros': r'launch_support\..*',
    r'torch|torchvision|efficientnet_\w+': r'training\..*',
    r'pycuda|cuda': r'backends\.(cuda|tensorrt)\..*',
    r'tensorrt|tensorrt_rtx|tensorrt_lean': r'backends\.tensorrt\..*',
    r'onnxruntime': r'(backends\.onnxruntime\w*|onnx_tools\..*|compare\..*)',
    r'polygraphy': r'compare\..*',
    r'tvm|tvm_ffi': r'backends\.tvm\..*',
    r'rosbags|mcap|apsw|zstandard': r'bag\..*',
    r'ray|pyarrow|fsspec': r'fleet\..*',
}

#: What a layer must be importable without, as patterns of top-level names.
ROS = r'rclpy|rcl_interfaces|\w+_(msgs|srvs)|builtin_interfaces|cv_bridge|launch|launch_ros'
DEVICES = r'pycuda|cuda|tensorrt|tensorrt_rtx|tensorrt_lean|polygraphy|tvm|tvm_ffi|openvino'
SMALL = r'(?!resnet_trt_node|__future__|re|unicodedata).*'
PLAIN = rf'{ROS}|{DEVICES}|torch|onnx|onnxruntime|cv2|PIL|rosbags'
WITHOUT = {
    'text': rf'{PLAIN}|numpy',
    'errors': SMALL,
    'interrupt': PLAIN,
    'closing': rf'{PLAIN}|numpy',
    'json_document': rf'{PLAIN}|numpy',
    'labels': PLAIN,
    'regular_file': rf'{PLAIN}|numpy',
    'atomic_file': rf'{PLAIN}|numpy',
    'cdr': rf'{PLAIN}|numpy',
    'allocator': rf'{PLAIN}|numpy',
    'user_folders': rf'{PLAIN}|numpy',
    'evaluation': PLAIN,
    'contract': rf'{ROS}|{DEVICES}|torch|onnxruntime|cv2|PIL|rosbags',
    'imaging': rf'{ROS}|{DEVICES}|torch|onnx|onnxruntime|rosbags',
    'datasets': rf'{ROS}|{DEVICES}|torch|onnx|onnxruntime|rosbags',
    'regions': rf'{ROS}|{DEVICES}|torch|onnx|onnxruntime|rosbags',
    'downloads': rf'{ROS}|{DEVICES}|torch|onnx|onnxruntime|cv2|PIL|rosbags',
    'backends': rf'{ROS}|{DEVICES}|torch|rosbags',
    'onnx_tools': rf'{ROS}|{DEVICES}|torch|rosbags',
    'bag': rf'{ROS}|{DEVICES}|torch',
    'compare': rf'{ROS}|{DEVICES}|torch',
    'fleet': rf'{ROS}|{DEVICES}|torch',
    'training': rf'{ROS}|{DEVICES}|rosbags',
    'node': rf'{DEVICES}|torch|cv_bridge',
    'launch_support': rf'{DEVICES}|torch|cv_bridge|rclpy',
    'cli': rf'{DEVICES}|cv_bridge',
}

#: Modules whose classes derive from a library's, so that they need it; others import them inside
#: functions only, or the layer would not be importable without the library either.
DERIVED = {'compare.runners', 'bag.replay'}

#: Imports the given modules while names that match a pattern are out of reach.
BLOCKED_IMPORT = (
    'import importlib, re, sys\n'
    'forbidden = re.compile(sys.argv[1])\n'
    'class Refuse:\n'
    '    def find_spec(self, name, path=None, target=None):\n'
    "        top = name.partition('.')[0]\n"
    '        if forbidden.fullmatch(top):\n'
    "            raise ModuleNotFoundError(f'{name} is out of reach for this layer', name=name)\n"
    'sys.meta_path.insert(0, Refuse())\n'
    'for module in sys.argv[2:]:\n'
    '    importlib.import_module(module)\n'
    '    print(module)\n')


def _modules(repository: Path) -> Iterator[tuple[str, Path]]:
    """Give every module of the package: dotted name without the package's, and its file."""
    for path in sorted((repository / NAME).rglob('*.py')):
        parts = path.relative_to(repository / NAME).with_suffix('').parts
        yield '.'.join(parts), path


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    """Give the dotted names that a file imports, and their lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}:{node.lineno}: write the absolute import'
            for alias in node.names:
                yield f'{node.module}.{alias.name}', node.lineno


def test_sources_import_downward(repository: Path) -> None:
    """No module imports a layer above or beside it."""
    faults = []
    for module, path in _modules(repository):
        layer = module.partition('.')[0]
        if layer == '__init__':
            continue
        allowed = {layer, '__version__', *LAYERS[layer], *JOINTS.get(module, ())}
        for name, line in _imports(path):
            parts = name.split('.')
            if parts[0] == NAME and len(parts) > 1 and parts[1] not in allowed:
                faults.append(f'{module}:{line} imports {name}')
    assert faults == []


def test_libraries_stay_in_their_layers(repository: Path) -> None:
    """ROS is for node/, torch for training/, and so on; cli/ goes through these."""
    faults = []
    for module, path in _modules(repository):
        for name, line in _imports(path):
            for library, allowed in LIBRARIES.items():
                if re.fullmatch(library, name.partition('.')[0]) \
                        and not re.fullmatch(allowed, module):
                    faults.append(f'{module}:{line} imports {name}')
    assert faults == []


def test_only_the_entry_point_knows_tvm(repository: Path) -> None:
    """The sub-package of TVM can go without a change elsewhere."""
    faults = [
        f'{module}:{line} imports {name}' for module, path in _modules(repository)
        if not module.startswith('backends.tvm.')
        for name, line in _imports(path) if name.startswith(f'{NAME}.backends.tvm')]
    assert faults == []


def _import_without(pattern: str, modules: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, '-c', BLOCKED_IMPORT, pattern, *modules],
        capture_output=True, text=True, timeout=600)


@pytest.mark.slow
@pytest.mark.parametrize('layer', LAYERS)
def test_layer_imports_without(repository: Path, layer: str) -> None:
    """Every module of a layer is importable without what the layer must not need."""
    modules = [
        f'{NAME}.{module}'.replace('.__init__', '') for module, _ in _modules(repository)
        if module.partition('.')[0] == layer and not module.endswith('__main__')
        and module not in DERIVED]
    assert modules
    result = _import_without(WITHOUT[layer], modules)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == modules


@pytest.mark.slow
def test_blocking_blocks() -> None:
    """The tests above would notice: a forbidden import fails."""
    result = _import_without('colorsys', ['colorsys'])
    assert result.returncode == 1
    assert 'colorsys is out of reach for this layer' in result.stderr


@pytest.mark.slow
def test_help_needs_nothing() -> None:
    """The command line's help answers with the standard library alone."""
    program = f"{BLOCKED_IMPORT}from {NAME}.cli.main import main; main(['--help'])"
    result = subprocess.run(
        [sys.executable, '-c', program,
         rf'numpy|cv2|PIL|onnx|onnxruntime|yaml|tqdm|rich|rosbags|torch|{ROS}|{DEVICES}'],
        capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert 'classify' in result.stdout


def test_init_of_rclpy_is_no_context_manager(repository: Path) -> None:
    """Before ROS 2 Kilted it returns None."""
    faults = [
        f'{path}:{node.lineno}'
        for folder in (NAME, 'test', 'tools', 'examples')
        for path in (repository / folder).rglob('*.py')
        if 'rclpy.init(' in (text := path.read_text(encoding='utf-8'))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.With)
        and any(ast.unparse(item.context_expr).startswith('rclpy.init(') for item in node.items)]
    assert faults == []
