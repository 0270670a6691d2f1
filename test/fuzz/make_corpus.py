"""
Write the seeds of the fuzzer: one small file of each kind that is read.

They are in the repository, so that a failure's example means the same tomorrow, whatever the
libraries then write. Usage: python test/fuzz/make_corpus.py
"""

from __future__ import annotations

from pathlib import Path
import shutil
import sys
import tempfile
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from bags.image_bags import BagWriter
import cv2
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

CORPUS = Path(__file__).resolve().parent / 'corpus'
#: OpenCV's writer: name to format, pixels' kind and parameters.
_BY_OPENCV = {
    'colour.jpg': ('colour', [cv2.IMWRITE_JPEG_QUALITY, 60]),
    'progressive.jpg': ('colour', [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
    'restarts.jpg': ('colour', [cv2.IMWRITE_JPEG_RST_INTERVAL, 1]),
    'gray.jpg': ('gray', []), 'colour.png': ('colour', []), 'alpha.png': ('alpha', []),
    'gray16.png': ('gray16', []), 'colour.bmp': ('colour', []), 'colour.tiff': ('colour', []),
    'lossless.webp': ('colour', [cv2.IMWRITE_WEBP_QUALITY, 101]),
    'lossy.webp': ('colour', [cv2.IMWRITE_WEBP_QUALITY, 50]), 'colour.ppm': ('colour', []),
}


def main() -> int:
    """Write all of them."""
    CORPUS.mkdir(exist_ok=True)
    rows, columns = np.mgrid[0:20, 0:18]
    gray = (rows * 11 + columns * 3).astype(np.uint8)
    pictures = {
        'gray': gray, 'gray16': gray.astype(np.uint16) * 257,
        'colour': np.dstack([gray, gray[::-1], 255 - gray]),
        'alpha': np.dstack([gray, gray[::-1], 255 - gray, gray])}
    for name, (kind, parameters) in _BY_OPENCV.items():
        if not cv2.imwrite(str(CORPUS / name), pictures[kind], parameters):
            raise RuntimeError(f'OpenCV did not write {name}')
    exif = Image.Exif()
    exif[0x0112] = 6
    colour = Image.fromarray(pictures['colour'])
    colour.save(CORPUS / 'turned.jpg', exif=exif, quality=60)
    colour.quantize(8).save(CORPUS / 'palette.png')
    colour.convert('CMYK').save(CORPUS / 'cmyk.jpg', quality=60)
    tiny = colour.resize((8, 8))
    for name in ('tiny.gif', 'tiny.tga', 'tiny.jp2', 'tiny.pcx', 'tiny.ico'):
        tiny.save(CORPUS / name)
    text = PngInfo()
    text.add_text('key', 'value' * 20, zip=True)
    tiny.save(CORPUS / 'text.png', pnginfo=text)
    tiny.save(CORPUS / 'deflated.tif', compression='tiff_adobe_deflate')
    levels = b' '.join(b'%d' % (level * 4) for level in pictures['gray'][:4, :4].reshape(-1))
    (CORPUS / 'text1023.pgm').write_bytes(b'P2\n# c\n4 4\n1023\n' + levels + b'\n')
    with ZipFile(CORPUS / 'pictures.zip', 'w', ZIP_DEFLATED) as archive:
        for name in ('a/1.gif', 'b/./2.gif', 'a\\3.gif', '.d/4', '../5.gif'):
            archive.writestr(ZipInfo(name), (CORPUS / 'tiny.gif').read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        bag = Path(folder) / 'bag'
        with BagWriter(bag) as writer:
            writer.write_image(
                '/camera/image', pictures['colour'][:4, :4], 10**18, 'camera', 'rgb8')
            writer.write_compressed(
                '/camera/image/compressed', (CORPUS / 'gray.jpg').read_bytes()[:200], 'jpeg',
                10**18 + 1, 'camera')
        shutil.copy(bag / 'bag.mcap', CORPUS / 'images.mcap')
    return 0


if __name__ == '__main__':
    sys.exit(main())
