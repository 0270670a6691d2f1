"""package.xml, setup.py, requirements and the code agree."""

from __future__ import annotations

import ast
from importlib import import_module
from importlib.metadata import distribution, version
from pathlib import Path
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from zipfile import ZipFile

import pytest

import resnet_trt_node

NAME = 'resnet_trt_node'


@pytest.fixture(scope='module')
def manifest(repository: Path) -> ElementTree.Element:
    """Return package.xml."""
    return ElementTree.parse(repository / 'package.xml').getroot()


def test_one_version(repository: Path, manifest: ElementTree.Element) -> None:
    """Every place that names the version names the same."""
    assert manifest.findtext('version') == resnet_trt_node.__version__
    assert version(NAME) == resnet_trt_node.__version__
    setup = (repository / 'setup.py').read_text(encoding='utf-8')
    assert f"version='{resnet_trt_node.__version__}'" in setup
    changes = (repository / 'CHANGELOG.rst').read_text(encoding='utf-8')
    section = re.escape(resnet_trt_node.__version__) + r' \(\d{4}-\d\d-\d\d\)\n-+\n\* '
    assert re.search(section, changes)


def test_manifest_and_setup_agree(repository: Path, manifest: ElementTree.Element) -> None:
    """Name, maintainer and licence are stated twice, as ROS wants it."""
    about = distribution(NAME).metadata
    setup = (repository / 'setup.py').read_text(encoding='utf-8')
    maintainer = manifest.find('maintainer')
    assert maintainer is not None
    assert manifest.get('format') == '3'
    assert manifest.findtext('name') == about['Name'].replace('-', '_') == NAME
    assert f"maintainer_email='{maintainer.attrib['email']}'" in setup
    assert f"maintainer='{maintainer.text}'" in setup
    assert manifest.findtext('license') == 'Apache-2.0'
    assert 'Apache-2.0' in (about['License'], about['License-Expression'])
    assert manifest.findtext('export/build_type') == 'ament_python'


def test_manifest_is_valid(repository: Path) -> None:
    """The parser of colcon and rosdep takes it; with a fault colcon builds something else."""
    catkin_pkg = pytest.importorskip(
        'catkin_pkg.package', reason='catkin_pkg, the parser of package.xml, is not installed')
    warnings: list[str] = []
    package = catkin_pkg.parse_package(str(repository), warnings=warnings)
    package.validate(warnings=warnings)
    assert warnings == []


def test_changelog_is_read_by_the_tools_that_release(repository: Path) -> None:
    """Bloom takes the entries of the version from it, and writes one of its own without them."""
    changelog = pytest.importorskip('catkin_pkg.changelog', reason='catkin_pkg is not installed')
    changes = changelog.get_changelog_from_path(str(repository))
    entries = {version: (date, content) for version, date, content in changes.foreach_version()}
    date, content = entries[resnet_trt_node.__version__]
    assert date is not None
    assert content


@pytest.mark.slow
def test_commands_exist() -> None:
    """Both executables lead to functions."""
    points = {
        point.name: point for point in distribution(NAME).entry_points
        if point.group == 'console_scripts'}
    assert set(points) == {'classifier_node', 'resnet_trt'}
    for point in points.values():
        assert callable(point.load())


@pytest.mark.slow
def test_pip_installs_commands_where_ros_looks(repository: Path, tmp_path: Path) -> None:
    """`ros2 run` and launch start what is in lib/PACKAGE; they lead to those of bin/."""
    subprocess.run(
        [sys.executable, 'setup.py', '-q', 'egg_info', '-e', tmp_path, 'build', '-b', tmp_path,
         'bdist_wheel', '-b', tmp_path / 'wheel', '-d', tmp_path],
        cwd=repository, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    prefix = tmp_path / 'prefix'
    (prefix / 'bin').mkdir(parents=True)
    with ZipFile(next(tmp_path.glob('*.whl'))) as wheel:
        files = {info.filename.partition('/data/')[2]: info for info in wheel.infolist()}
        for name in ('classifier_node', 'resnet_trt'):
            info = files[f'lib/{NAME}/{name}']
            assert info.external_attr >> 16 & 0o111 == 0o111
            shim = prefix / info.filename.partition('/data/')[2]
            shim.parent.mkdir(parents=True, exist_ok=True)
            shim.write_bytes(wheel.read(info))
            command = prefix / 'bin' / name
            command.write_text('#!/bin/sh\necho "$0" "$@"\n', encoding='utf-8')
            for file in (shim, command):
                file.chmod(0o755)
            outcome = subprocess.run(
                [shim, 'a b'], check=True, capture_output=True, encoding='utf-8')
            assert outcome.stdout.endswith(f'/bin/{name} a b\n')


def _imported(path: Path) -> set[str]:
    """Return the top-level names that a Python file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names.update(alias.name.split('.')[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split('.')[0])
    return names


def test_imported_ros_packages_are_declared(
        repository: Path, manifest: ElementTree.Element) -> None:
    """Every ROS package and every Python library with a rosdep key that is used is declared."""
    keys = {
        'numpy': 'python3-numpy', 'cv2': 'python3-opencv', 'PIL': 'python3-pil',
        'rich': 'python3-rich', 'tqdm': 'python3-tqdm', 'yaml': 'python3-yaml'}
    ros = re.compile(
        'rclpy|launch|launch_ros|cv_bridge|ament_index_python|.*_(msgs|srvs|interfaces)')
    used: set[str] = set()
    for folder in (NAME, 'launch'):
        for path in (repository / folder).rglob('*.py'):
            for name in _imported(path):
                if name in keys or ros.fullmatch(name):
                    used.add(keys.get(name, name))
    assert {'rclpy', 'vision_msgs', 'sensor_msgs', 'launch_ros', 'python3-numpy'} <= used
    declared = {element.text for element in manifest.iter() if element.tag.endswith('depend')}
    assert used <= declared
    # A release by bloom ends at a key that rosdep installs with pip.
    assert not [name for name in declared if name and name.endswith('-pip')]


def _requirements(repository: Path) -> list[tuple[str, str]]:
    return [
        (path.name, line) for path in sorted((repository / 'requirements').glob('*.txt'))
        for line in path.read_text(encoding='utf-8').splitlines()
        if line and not line.startswith('#')]


@pytest.mark.parametrize(('distro', 'other'), [('kilted', 'jazzy'), ('jazzy', 'kilted')])
def test_requirements_are_pinned(repository: Path, distro: str, other: str) -> None:
    """Every line names one exact version, and no package is pinned twice for one Python."""
    marker = r"(?: ; (?:python_version (<|>=) '3\.11'|platform_machine == 'x86_64'))?"
    pin = re.compile(r'([A-Za-z0-9._-]+)==[0-9][\w.]*' + marker)
    seen: dict[str, set[str]] = {}
    for file, line in _requirements(repository):
        if file.endswith(f'-{other}.txt') or line.startswith('-r '):
            continue
        match = pin.fullmatch(line)
        assert match, f'{file}: {line}'
        name = re.sub('[-_.]+', '-', match[1]).lower()
        pythons = {'<', '>='} if match[2] is None else {match[2]}
        assert not seen.setdefault(name, set()) & pythons, f'{file}: {line} is pinned before'
        seen[name] |= pythons
    assert {'numpy', 'torch', 'onnx', f'ros-{distro}-rclpy', 'ros-rcl'} <= set(seen)


def test_labels_ship_with_the_package() -> None:
    """The class names are inside the package, not beside it."""
    package = import_module(NAME)
    assert package.__file__
    assert (Path(package.__file__).parent / 'data' / 'imagenet_classes.txt').is_file()


def test_images_have_the_versions_that_are_tested(repository: Path) -> None:
    """Python 3.12 of the images takes the last of the lines for several Pythons."""
    def pins(file: str) -> dict[str, str]:
        text = (repository / file).read_text(encoding='utf-8')
        return dict(re.findall(r'^([\w-]+)==([\w.]+)', text, re.MULTILINE))
    tested, image = pins('requirements/runtime.txt'), pins('docker/requirements.txt')
    assert len(tested.keys() & image.keys()) == 5
    assert {name: tested[name] for name in tested.keys() & image.keys()} == {
        name: image[name] for name in tested.keys() & image.keys()}
    page = (repository / 'docs' / 'how-to' / 'docker.md').read_text(encoding='utf-8')
    untested = re.search(r'Those of (.*?) are pinned for the\s+images alone', page)
    assert untested
    assert {*untested[1].split(' and ')} == image.keys() - tested.keys()
