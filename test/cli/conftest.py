"""Running `resnet_trt` inside the test's process, and things for it to work on."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from bags.image_bags import BagWriter
from bags.region_scenes import write_region_bag
from commands.command_line import Command
from make_model_index import main as make_model_index
from models.model_server import ModelServer
from models.tiny_model import colour_picture, write_tiny_model
from PIL import Image
import pytest


@pytest.fixture
def resnet_trt(capsys: pytest.CaptureFixture[str]) -> Command:
    """Return the command line."""
    return Command(capsys)


@pytest.fixture(scope='session')
def colour_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a deployable model that names a picture's mean colour."""
    return write_tiny_model(tmp_path_factory.mktemp('models') / 'colours.onnx')


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder of pictures: red.png, blue.jpg and sub/red.jpg, which is cyan."""
    folder = tmp_path / 'pictures'
    (folder / 'sub').mkdir(parents=True)
    for name, colour in (('red.png', 'red'), ('blue.jpg', 'blue'), ('sub/red.jpg', 'cyan')):
        Image.fromarray(colour_picture(colour)).save(folder / name)
    return folder


@pytest.fixture
def colour_bag(tmp_path: Path) -> Path:
    """
    Return a bag of two cameras, the second with a broken frame in between.

    /front/image: red, green, blue at 1.0, 1.1, 1.2 s; /left/image/compressed: yellow, broken,
    magenta at 1.05, 1.15, 1.25 s.
    """
    path = tmp_path / 'colours'
    with BagWriter(path) as bag:
        for number, colour in enumerate(('red', 'green', 'blue')):
            bag.write_image(
                '/front/image', colour_picture(colour), 10**9 + number * 10**8, 'front_camera',
                'rgb8')
        for number, colour in enumerate(('yellow', None, 'magenta')):
            data = BytesIO(b'no picture at all')
            if colour is not None:
                Image.fromarray(colour_picture(colour)).save(data, 'PNG')
            bag.write_compressed(
                '/left/image/compressed', data.getvalue(), 'png',
                1_050_000_000 + number * 10**8, 'left_camera')
    return path


@pytest.fixture
def region_bag(tmp_path: Path) -> Path:
    """Return the bag of `write_region_bag`."""
    return write_region_bag(tmp_path / 'regions')


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Return a folder that the tool made of a model; the user's cache is an empty one."""
    model = write_tiny_model(tmp_path / 'colours.onnx')
    folder = tmp_path / 'published'
    assert make_model_index([
        str(model), '-o', str(folder), '--name', 'colours', '--licence', 'Apache-2.0',
        '--description', 'corners of the cube', '--top1', '75.5']) == 0
    monkeypatch.setenv('RESNET_TRT_CACHE', str(tmp_path / 'cache'))
    monkeypatch.delenv('RESNET_TRT_INDEX', raising=False)
    for name in ('http_proxy', 'HTTP_PROXY', 'all_proxy'):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def server(published, monkeypatch):
    """Serve that folder, and have the environment name the address."""
    with ModelServer(published) as running:
        monkeypatch.setenv('RESNET_TRT_INDEX', running.address)
        yield running


@pytest.fixture
def file(published):
    """Return the model's file in the folder."""
    return next(published.glob('*.onnx'))


@pytest.fixture
def kept(tmp_path, file):
    """Return where a model goes that is not asked for elsewhere."""
    return tmp_path / 'cache' / 'models' / file.name
