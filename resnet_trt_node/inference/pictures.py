"""Picture files: finding them in a folder and reading one."""

from __future__ import annotations

from pathlib import Path
from typing import Union

from resnet_trt_node.errors import DataError, FrameError
from resnet_trt_node.inference.compressed import decode_compressed
from resnet_trt_node.inference.frame import Frame

#: Endings of picture files, lower case.
SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm', '.pgm', '.pbm')


def read_picture(path: Union[str, Path]) -> Frame:
    """
    Read a picture file, turned upright as its EXIF data says.

    :param path: a jpeg, png, bmp, webp, tiff or ppm file; its content counts, not its ending.
    :returns: pixels of its own, in order 'bgr', 'bgra' or 'gray'.
    :raises FrameError: if it cannot be read or is not a picture.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise FrameError(f'cannot read picture {path}: {error.strerror or error}') from error
    try:
        return decode_compressed(data, apply_orientation=True)
    except FrameError as error:
        raise FrameError(f'{path}: {error}') from error


def find_pictures(path: Union[str, Path]) -> list[Path]:
    """
    Find picture files by their ending, in all subfolders; hidden ones are left out.

    :param path: a folder, or one file, which is returned whatever its ending.
    :returns: sorted paths.
    :raises DataError: if there is no such file or folder, or no picture in it.
    """
    root = Path(path)
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise DataError(f'no such file or folder: {path}')
    found = sorted(
        file for file in root.rglob('*')
        if file.suffix.lower() in SUFFIXES and file.is_file()
        and not any(part.startswith('.') for part in file.relative_to(root).parts))
    if not found:
        raise DataError(f'no pictures in {path}: looked for {", ".join(SUFFIXES)}')
    return found
