"""
The exact wording of one-line errors, in one file: `messages.txt`.

Other tests assert the error class and a keyword. After a change of wording run
`GOLDEN=write python -m pytest test/golden` and read the difference.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import partial
import os
from pathlib import Path
from types import SimpleNamespace

from bags.image_bags import BagWriter
from bags.sample_bags import pixels_of, write_bag
from models.tiny_model import write_tiny_model
import onnx
from PIL import Image
import pytest
from resnet_trt_node.allocator import configure_allocator
from resnet_trt_node.backends.factory import open_backend
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.cli.main import main
from resnet_trt_node.contract.model_file import read_model_spec
from resnet_trt_node.datasets.pictures import read_picture
from resnet_trt_node.errors import ResnetTrtError
from resnet_trt_node.imaging.decode import decode_message
from resnet_trt_node.labels.file import read_labels
from resnet_trt_node.launch_support.launch_arguments import classify_arguments, node_settings
from resnet_trt_node.node.import_errors import import_failure
from resnet_trt_node.node.ros.parameters.hints import unknown_parameter
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters, parameter_fields
from resnet_trt_node.node.ros.ros_environment import check_ros_environment

MESSAGES = Path(__file__).with_name('messages.txt')

COMMANDS = [
    'classify model.onnx missing.png',
    'classify model.onnx empty',
    'classify model.onnx text.png',
    'classify model.onnx picture.png --topic /image',
    'classify model.onnx picture.png --top-k 0',
    'classify model.onnx picture.png --output out',
    'classify model.onnx bag --topic /rear',
    'classify missing.onnx picture.png',
    'evaluate model.onnx --images picture.png',
    'evaluate model.onnx --images empty',
    'evaluate model.onnx --images empty --bins 0',
    'evaluate model.onnx --images empty --confusion matrix.txt',
    'quantize model.onnx -o int8.onnx --images generated',
    'quantize model.onnx -o model.onnx --images empty',
    'quantize model.onnx -o int8.onnx --images empty --min-pictures 1',
    'replay bag --topic /image:=',
    'replay bag --rate 0',
    'replay bag --restamp --clock',
    'replay bag --depth 0',
    'top --wait 0',
]

PARAMETERS = [
    {'top_k': 0}, {'top_k': True}, {'score_threshold': 1}, {'image_transport': 'theora'},
    {'autostart': 'yes'}, {'cameras': ('/front',)}, {'cameras': ('a', 'a')}, {'cameras': (1,)},
    {'max_age_ms': 5}, {'top_k': 3.0}, {'top_k': '3'}, {'top_k': 'five'}, {'top_k': -1},
    {'max_age_ms': -5.0}, {'max_wait_ms': 'long'}, {'build_only': 1}, {'tf32': 'perhaps'},
    {'cameras': 'front'}, {'cameras': '[front, left]'}, {'cameras': 'front,left'},
    {'cameras': 5}, {'cameras': (True, False)}, {'cameras': ('/front/image_raw',)},
    {'cameras': ('front door',)}, {'model_path': 5}, {'model_path': ('a.onnx', 'b.onnx')},
    {'input': 'region'}, {'backend': 'TensorRT'}, {'precision': 'FP16'}]

#: Names that are no parameters of the node, and what they were set to.
UNKNOWN_PARAMETERS = {
    'image_topic': '/cam', 'detections_topic': '/detector/boxes', 'image': '/a b', 'label_info': 5,
    'model': 'model.onnx', 'conf_threshold': 0.5, 'labels': 'names.txt', 'engine_path': 'a.engine',
    'namespace': 'car', 'name': 'front', 'params_file': 'a.yaml', 'log_level': 'debug',
    'respawn': True, 'fps': 30, 'top\x1b[31m\n': 1}

LAUNCH_ARGUMENTS = [
    {'batch_size': 'many'}, {'use_sim_time': 'yes'}, {'log_level': 'loud'},
    {'cameras': 'front,,left'}, {'image_topic': '/a b'}, {'image_topic': '/a,/b'},
    {'build_only': 'true', 'respawn': 'true'}, {'engine_dir': '~no_such_user/engines'}]

BACKEND_OPTIONS = [
    {'name': 'tensorrtt'}, {'name': 'simulated:fast'}, {'name': 'onnxruntime:5'},
    {'name': 'simulated', 'precision': 'int8'}, {'name': 'simulated', 'tf32': True},
    {'name': 'simulated', 'max_batch_size': 0}, {'name': 'simulated', 'cpu_thread': 1}]

IMAGES = [
    {'data': array('B', bytes(11))}, {'step': 5}, {'encoding': 'rgb9'},
    {'height': 0}, {'width': 70_000, 'step': 210_000}, {'encoding': 'uyvy', 'width': 3, 'step': 6},
    {'encoding': 'bayer_rggb8', 'step': 6}]

LABELS = {
    'empty.txt': '', 'blank.txt': 'cat\n\ndog\n', 'missing.txt': '1 cat\n2 dog\n',
    'numbers.csv': '0,1\n1,0\n', 'mixed.json': '["cat", 3]',
    'answers.yaml': '- cat\n- no\n'}

MISSING_PACKAGES = {
    'vision_msgs': "No module named 'vision_msgs'", 'rclpy': "No module named 'rclpy'",
    'rclpy._rclpy_pybind11': "No module named 'rclpy._rclpy_pybind11'",
    'cv2': 'numpy.core.multiarray failed to import', 'rich': "No module named 'rich'"}

ENVIRONMENTS = [{'ROS_DOMAIN_ID': '300'}, {'RMW_IMPLEMENTATION': 'rmw_none_cpp'}]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change into a folder with the files that the commands name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'text.png').write_text('not a picture')
    (tmp_path / 'classify.yaml').write_text('')
    Image.new('RGB', (8, 8)).save(tmp_path / 'picture.png')
    write_tiny_model(tmp_path / 'model.onnx')
    write_bag(tmp_path / 'bag')
    return tmp_path


def error_of(call: Callable[[], object]) -> str:
    """Return class and message of the error that a call raises."""
    with pytest.raises(ResnetTrtError) as caught:
        call()
    return f'{type(caught.value).__name__}: {caught.value}'


def refused_models(folder: Path) -> dict[str, Path]:
    """Write what is no deployable model, by what is wrong with it."""
    os.mkfifo(folder / 'pipe.onnx')
    foreign = onnx.load(str(folder / 'model.onnx'))
    del foreign.metadata_props[:]
    onnx.save(foreign, str(folder / 'foreign.onnx'))
    onnx.save(onnx.load(str(folder / 'model.onnx')), str(folder / 'outside.onnx'),
              save_as_external_data=True, location='weights.data', size_threshold=0)
    others = {name: folder / name for name in ('a.engine', 'a.plan', 'a.pt', 'a.PTH')}
    for path in others.values():
        path.write_bytes(b'no model' * 50)
    return {name: folder / f'{name}.onnx' for name in (
        'missing', 'pipe', 'foreign', 'outside')} | {'folder': folder} | others


def refused_pictures(folder: Path) -> dict[str, Path]:
    """Write files that are no pictures, by name."""
    whole = (folder / 'picture.png').read_bytes()
    for name, data in {
            'nothing.png': b'', 'cut.png': whole[:49], 'text.jpg': b'not a picture'}.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in ('nothing.png', 'cut.png', 'text.jpg', 'empty')}


def decode_changed(change: dict[str, object]) -> None:
    """Decode an image of 2x2 after a change."""
    image = {'height': 2, 'width': 2, 'step': 6, 'encoding': 'rgb8', 'is_bigendian': 0,
             'data': array('B', bytes(12))}
    decode_message(SimpleNamespace(**{**image, **change}))


def broken_bags(folder: Path) -> dict[str, Path]:
    """Write bags that cannot be read, by what is wrong with them."""
    bags = {name: write_bag(folder / name, storage='sqlite3' if name.endswith('db3') else 'mcap')
            for name in ('no_file', 'bad_metadata', 'cut_off')}
    (bags['no_file'] / 'no_file.mcap').unlink()
    (bags['bad_metadata'] / 'metadata.yaml').write_text('[')
    os.truncate(bags['cut_off'] / 'cut_off.mcap', 500)
    for name in ('text.mcap', 'text.db3', 'text.bag', 'text.mp4', 'text.mcap.zstd'):
        bags[name] = folder / name
        bags[name].write_text('not a bag')
    return {**bags, 'missing': folder / 'missing', 'empty': folder / 'empty'}


def refused_writes(folder: Path) -> dict[str, Callable[[], object]]:
    """Return calls of a bag writer that are refused."""
    writer = BagWriter(folder / 'new')
    writer.write_image('/image', pixels_of(0), 1, '')
    return {
        'storage': lambda: BagWriter(folder / 'other', 'hdf5'),
        'exists': lambda: BagWriter(folder / 'bag'),
        'class_id_format': lambda: writer.write_classification('/l', 1, '', [], 'name'),
        'two types': lambda: writer.write_compressed('/image', b'', 'png', 1, ''),
        'stamp': lambda: writer.write_image('/image', pixels_of(0), 2**63, '')}


@pytest.mark.slow
def test_messages(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {}
    for line in COMMANDS:
        assert main(line.split()) == 2
        output = capsys.readouterr()
        assert output.out == ''
        found[f'resnet_trt {line}'] = output.err.rstrip('\n')
    for values in PARAMETERS:
        found[f'parameters {values}'] = error_of(partial(NodeParameters, **values))
    for name, value in UNKNOWN_PARAMETERS.items():
        found[f'parameter {name!r}'] = unknown_parameter(name, value, parameter_fields())
    usual = {argument.name: '' for argument in classify_arguments()}
    for given in LAUNCH_ARGUMENTS:
        found[f'launch {given}'] = error_of(
            partial(node_settings, {**usual, 'params_file': 'classify.yaml', **given}))
    for name, text in MISSING_PACKAGES.items():
        found[f'import {name}'] = import_failure(ImportError(text, name=name))
    for environment in ENVIRONMENTS:
        found[f'environment {environment}'] = error_of(
            partial(check_ros_environment, environment))
    found['allocator'] = error_of(
        partial(configure_allocator, {'RESNET_TRT_ALLOCATOR': 'off'}))
    for options in BACKEND_OPTIONS:
        found[f'backend {options}'] = error_of(
            partial(open_backend, folder / 'model.onnx', **options))
    for name, path in refused_models(folder).items():
        found[f'model {name}'] = error_of(partial(read_model_spec, path))
    for name, path in refused_pictures(folder).items():
        found[f'picture {name}'] = error_of(partial(read_picture, path))
    for change in IMAGES:
        found[f'image {change}'] = error_of(partial(decode_changed, change))
    for name, content in LABELS.items():
        (folder / name).write_text(content)
        found[f'labels {name}'] = error_of(partial(read_labels, folder / name))
    for name, path in broken_bags(folder).items():
        found[f'bag {name}'] = error_of(partial(BagReader, path))
    for name, call in refused_writes(folder).items():
        found[f'write {name}'] = error_of(call)
    text = ''.join(f'{name}\n    {message}\n' for name, message in found.items()).replace(
        str(folder), 'FOLDER')
    if os.environ.get('GOLDEN') == 'write':
        MESSAGES.write_text(text)
    assert MESSAGES.read_text() == text
