"""A bag of real photographs, as three cameras would have recorded them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
import time

from demo_steps import DemoError
import numpy as np
from PIL import Image

from resnet_trt_node.bag.writer import BagWriter

FRAME_PERIOD_NS = 200_000_000  # 5 Hz

# Photographs that lie inside PyPI packages: name to (package, file in it).
_PHOTOGRAPHS = {
    'cat': ('skimage', 'data/chelsea.png'),
    'coffee': ('skimage', 'data/coffee.png'),
    'rocket': ('skimage', 'data/rocket.jpg'),
    'cameraman': ('skimage', 'data/camera.png'),
    'motorcycle': ('skimage', 'data/motorcycle_left.png'),
    'astronaut': ('skimage', 'data/astronaut.png'),
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
    Camera('left', False, ('motorcycle', 'flower', 'palace', 'astronaut')),
    Camera('rear', True, ('palace', 'cat', 'coffee', 'rocket')),
)


def write_recording(path: Path) -> None:
    """
    Write the bag.

    :param path: the bag's folder, which must not exist.
    :raises DemoError: if a package that holds photographs is missing.
    """
    start_ns = time.time_ns()
    frames = [
        (start_ns + number * FRAME_PERIOD_NS, camera, _find(photograph))
        for camera in CAMERAS for number, photograph in enumerate(camera.photographs)]
    with BagWriter(path) as bag:
        for stamp_ns, camera, file in sorted(frames, key=lambda frame: frame[0]):
            frame_id = f'{camera.name}_camera'
            if camera.compressed:
                compression = 'jpeg' if file.suffix == '.jpg' else 'png'
                bag.write_compressed(
                    camera.topic, file.read_bytes(), compression, stamp_ns, frame_id)
                continue
            with Image.open(file) as picture:
                encoding = 'mono8' if picture.mode == 'L' else 'rgb8'
                pixels = np.asarray(picture if picture.mode == 'L' else picture.convert('RGB'))
            bag.write_image(camera.topic, pixels, stamp_ns, frame_id, encoding)


def _find(photograph: str) -> Path:
    package, file = _PHOTOGRAPHS[photograph]
    # Looking the package up instead of importing it saves a second.
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / file).is_file():
            return Path(folder) / file
    raise DemoError(
        f'the photograph {file} of the Python package {package} is missing: run `make demo`, '
        'which installs it')
