"""
Fit photographs as a model wants them: a zip or folder of pictures -> uint8 frames in .npy.

Where labels.tsv (file, class index) lies among the pictures, the classes go into a file beside it,
and pictures that it does not name are left out.
"""

from __future__ import annotations

import argparse
from io import BytesIO
from pathlib import Path
import sys

import numpy as np
from PIL import Image
from resnet_trt_node.contract.model_file import read_model_spec
from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.datasets.class_words import ClassWords
from resnet_trt_node.datasets.listing import count_unread, describe_unread
from resnet_trt_node.datasets.names import TABLE_NAME
from resnet_trt_node.datasets.store import PictureStore
from resnet_trt_node.datasets.table import parse_table
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.resize import Resizer


def main() -> None:
    """Read, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('pictures', type=Path, help='zip file or folder of pictures')
    parser.add_argument('output', type=Path, help='.npy file of uint8 (N, H, W, 3) RGB')
    parser.add_argument(
        '--model', type=Path, help='deployable model whose resize rule to follow; not given: '
        "ResNet's, short side 256, bilinear, crop 224")
    arguments = parser.parse_args()
    rule = (ResizeRule(256, 224, 224) if arguments.model is None
            else read_model_spec(arguments.model).resize)
    with PictureStore(arguments.pictures) as store:
        names = store.listing.pictures
        unread = count_unread(store.listing, TABLE_NAME)
        table = store.read(TABLE_NAME).decode() if TABLE_NAME in store.file_names() else ''
        files = {name: store.read(name) for name in names}
    if unread:
        print(describe_unread(unread))
    classes = {item.name: item.target for item in parse_table(
        table, ClassWords(sys.maxsize), TABLE_NAME, files.__contains__).items} if table else {}
    if classes:
        known = [name for name in names if name in classes]
        print(f'{len(names) - len(known)} pictures without a class are left out')
        names = known
    if not names:
        sys.exit(f'{arguments.pictures} has no pictures')
    frames = np.empty((len(names), rule.crop_height, rule.crop_width, 3), np.uint8)
    resizer = Resizer(rule, 'exact')
    for frame, name in zip(frames, names):
        picture = np.asarray(Image.open(BytesIO(files[name])).convert('RGB'))
        resizer.resize(Frame(picture, 'rgb'), frame)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    np.save(arguments.output, frames)
    if classes:
        np.save(arguments.output.with_suffix('.labels.npy'),
                np.array([classes[name] for name in names]))
    print(f'{arguments.output}: {len(frames)} frames, {frames.nbytes / 1e6:.0f} MB')


if __name__ == '__main__':
    main()
