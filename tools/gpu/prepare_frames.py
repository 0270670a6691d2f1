"""Fit photographs as the models want them: a zip or folder of pictures -> uint8 frames in .npy."""

from __future__ import annotations

import argparse
from io import BytesIO
from pathlib import Path
import zipfile

import numpy as np
from PIL import Image
from resnet_trt_node.inference.frame import Frame
from resnet_trt_node.inference.preprocess import Resizer
from resnet_trt_node.inference.spec import ResizeRule


def main() -> None:
    """Read, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('pictures', type=Path, help='zip file or folder of JPEG pictures')
    parser.add_argument('output', type=Path, help='.npy file of uint8 (N, 224, 224, 3) RGB')
    arguments = parser.parse_args()
    if arguments.pictures.is_dir():
        data = [file.read_bytes() for file in sorted(arguments.pictures.rglob('*'))
                if file.suffix.lower() in ('.jpeg', '.jpg')]
    else:
        with zipfile.ZipFile(arguments.pictures) as archive:
            data = [archive.read(name) for name in sorted(archive.namelist())
                    if name.lower().endswith(('.jpeg', '.jpg'))]
    frames = np.empty((len(data), 224, 224, 3), np.uint8)
    resizer = Resizer(ResizeRule(256, 224, 224), 'exact')
    for frame, content in zip(frames, data):
        picture = np.asarray(Image.open(BytesIO(content)).convert('RGB'))
        resizer.fit(Frame(picture, 'rgb'), frame)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    np.save(arguments.output, frames)
    print(f'{arguments.output}: {len(frames)} frames, {frames.nbytes / 1e6:.0f} MB')


if __name__ == '__main__':
    main()
