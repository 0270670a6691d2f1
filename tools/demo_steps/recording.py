"""A bag of real photographs, as three cameras would have recorded them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
import time

from demo_steps import DemoError
import numpy as np
from PIL import Image

from resnet_trt_node.bag.message_types import COMPRESSED_IMAGE, default_typestore, IMAGE
from resnet_trt_node.bag.writer import BagWriter, header

FRAME_PERIOD_NS = 200_000_000  # 5 Hz

# Photographs that lie inside PyPI packages: name to (package, file in it). Their licences allow to
# show what is made of them, see docs/images/README.md.
_PHOTOGRAPHS = {
    'cat': ('skimage', 'data/chelsea.png'),
    'coffee': ('skimage', 'data/coffee.png'),
    'rocket': ('skimage', 'data/rocket.jpg'),
    'cameraman': ('skimage', 'data/camera.png'),
    'palace': ('sklearn', 'datasets/images/china.jpg'),
    'flower': ('sklearn', 'datasets/images/flower.jpg'),
}


@dataclass(frozen=True)
class Camera:
    """
    A camera of the recording.

    :param name: its namespace; it publishes on /NAME/image or /NAME/image/compressed.
    :param compressed: whether it sends jpeg and png files instead of pixels.
    :param photographs: what it sees, one after the other.
    """

    name: str
    compressed: bool
    photographs: tuple[str, ...]

    @property
    def topic(self) -> str:
        """Return the image topic."""
        return f'/{self.name}/image' + ('/compressed' if self.compressed else '')


CAMERAS = (
    Camera('front', False, ('cat', 'coffee', 'rocket', 'cameraman')),
    Camera('left', False, ('flower', 'palace', 'cameraman', 'coffee')),
    Camera('rear', True, ('palace', 'cat', 'flower', 'rocket')),
)


def write_recording(path: Path) -> dict[tuple[str, int], str]:
    """
    Write the bag.

    :param path: the bag's folder, which must not exist.
    :returns: which photograph each frame is; a frame is named by camera and stamp in nanoseconds.
    :raises DemoError: if a package that holds photographs is missing.
    """
    start_ns = time.time_ns()
    shown: dict[tuple[str, int], str] = {}
    with BagWriter(path) as bag:
        for number in range(max(len(camera.photographs) for camera in CAMERAS)):
            stamp_ns = start_ns + number * FRAME_PERIOD_NS
            for camera in CAMERAS:
                if number < len(camera.photographs):
                    photograph = camera.photographs[number]
                    _write_image(bag, camera, find_photograph(photograph), stamp_ns)
                    shown[camera.name, stamp_ns] = photograph
    return shown


def _write_image(bag: BagWriter, camera: Camera, file: Path, stamp_ns: int) -> None:
    head = header(stamp_ns, f'{camera.name}_camera')
    if camera.compressed:
        # The files' own bytes, as from a camera that compresses.
        bag.write(camera.topic, COMPRESSED_IMAGE, default_typestore().types[COMPRESSED_IMAGE](
            header=head, format='jpeg' if file.suffix == '.jpg' else 'png',
            data=np.frombuffer(file.read_bytes(), np.uint8)), stamp_ns)
        return
    with Image.open(file) as picture:
        grey = picture.mode == 'L'
        pixels = np.asarray(picture if grey else picture.convert('RGB'))
    bag.write(camera.topic, IMAGE, default_typestore().types[IMAGE](
        header=head, height=pixels.shape[0], width=pixels.shape[1],
        encoding='mono8' if grey else 'rgb8', is_bigendian=0, step=pixels[0].nbytes,
        data=pixels.reshape(-1)), stamp_ns)


def find_photograph(photograph: str) -> Path:
    """
    Return the file of a photograph.

    :raises DemoError: if the package that holds it is missing.
    """
    package, file = _PHOTOGRAPHS[photograph]
    # Looking the package up instead of importing it saves a second.
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / file).is_file():
            return Path(folder) / file
    raise DemoError(
        f'the photograph {file} of the Python package {package} is missing: run `make demo`, '
        'which installs it')
