"""The steps of `try_jpeg.py`, each called with its settings as JSON; the last RESULT counts."""

from __future__ import annotations

import io
import json
from pathlib import Path
import sys
import time
from typing import Any, Callable, Iterator, Optional, Union
import zipfile

import numpy as np
from PIL import Image

from resnet_trt_node.backends.cuda.device import CudaDevice
from resnet_trt_node.backends.cuda.jpeg import DecodedOnDevice, JpegDecoder
from resnet_trt_node.errors import FrameError, InferenceError
from resnet_trt_node.imaging.compressed.decode import decode_compressed
from resnet_trt_node.imaging.frame import to_rgb

#: Levels by which a value on the GPU may differ from the CPU's: at most, of 999 in 1000, on
#: average. IDCT and colours are rounded differently, and chroma is enlarged in another order.
BOUND = {'max': 4, 'p99.9': 2, 'mean': 0.1}
LARGEST = 3840 * 2160 * 3


class Gpu:
    """A device, a stream, a decoder, and a way to look at what it decoded."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.device = CudaDevice(0)
        self.stream = self.device.stream()
        self.decoder = JpegDecoder(0, self.stream.handle, **settings)
        self.host = self.device.host_array((LARGEST,), np.uint8)

    def look(self, data: bytes) -> Union[np.ndarray, str]:
        """Return the pixels of a picture, uint8 (H, W, 3); or words."""
        decoded, = self.decoder.decode([data])
        return decoded if isinstance(decoded, str) else self.pixels(decoded)

    def pixels(self, decoded: DecodedOnDevice) -> np.ndarray:
        """Return the pixels of what was decoded, uint8 (H, W, 3)."""
        size = decoded.height * decoded.pitch
        self.stream.copy_out(self.host[:size], decoded.address)
        self.stream.drain()
        rows = self.host[:size].reshape(decoded.height, decoded.pitch)
        return rows[:, :3 * decoded.width].reshape(decoded.height, decoded.width, 3).copy()

    def close(self) -> None:
        """Free everything."""
        self.stream.drain()
        self.decoder.close()
        del self.stream, self.host
        self.device.close()


def report(**found: Any) -> None:
    """Print what is known so far; a later line replaces it."""
    print('RESULT ' + json.dumps(found), flush=True)


def on_the_cpu(data: bytes) -> Union[np.ndarray, str]:
    """Return what the CPU makes of a picture, uint8 (H, W, 3), or its error."""
    try:
        frame = decode_compressed(data)
    except FrameError as error:
        return str(error)
    return to_rgb(frame.pixels, frame.order)


def photographs(source: str, number: int) -> Iterator[bytes]:
    """Yield the bytes of jpegs in a zip file or folder, in the order of their names."""
    suffixes = ('.jpeg', '.jpg')
    if source.endswith('.zip'):
        with zipfile.ZipFile(source) as archive:
            names = sorted(name for name in archive.namelist() if name.lower().endswith(suffixes))
            yield from (archive.read(name) for name in names[:number])
    else:
        paths = sorted(path for path in Path(source).rglob('*')
                       if path.suffix.lower() in suffixes)
        yield from (path.read_bytes() for path in paths[:number])


def encoded(data: bytes, size: Optional[tuple[int, int]] = None, mode: str = 'RGB',
            **options: Any) -> bytes:
    """Return a photograph as another jpeg, of a width and height if given."""
    picture = Image.open(io.BytesIO(data)).convert(mode)
    if size:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, 'JPEG', **{'quality': 90, **options})
    return out.getvalue()


#: What is compared: the photographs as they are, and what Pillow makes of them.
KINDS: dict[str, Callable[[bytes], bytes]] = {
    'as they are': lambda data: data,
    '4:4:4': lambda data: encoded(data, subsampling='4:4:4'),
    '4:2:2': lambda data: encoded(data, subsampling='4:2:2'),
    '4:2:0': lambda data: encoded(data, subsampling='4:2:0'),
    'quality 50': lambda data: encoded(data, quality=50),
    'quality 100': lambda data: encoded(data, quality=100),
    'grey': lambda data: encoded(data, mode='L'),
    'progressive': lambda data: encoded(data, progressive=True),
    'restart markers': lambda data: encoded(data, restart_marker_rows=1),
    '641x479': lambda data: encoded(data, (641, 479)),
    '31x17': lambda data: encoded(data, (31, 17)),
    '1920x1080': lambda data: encoded(data, (1920, 1080)),
    'cmyk': lambda data: encoded(data, mode='CMYK')}


def agreement(details: dict[str, Any]) -> None:
    """Compare the pixels of whole pictures."""
    gpu = Gpu(details['settings'])
    found: dict[str, Any] = {}
    for kind, make in KINDS.items():
        # Large ones take Pillow long.
        number = details['number'] if kind == 'as they are' else min(details['number'], 40)
        levels, left, refused = np.zeros(256, np.int64), 0, ''
        for data in map(make, photographs(details['photographs'], number)):
            there, here = gpu.look(data), on_the_cpu(data)
            if isinstance(there, str) or isinstance(here, str):
                left, refused = left + 1, there if isinstance(there, str) else f'CPU: {here}'
                continue
            difference = np.abs(there.astype(np.int16) - here)
            levels += np.bincount(difference.ravel(), minlength=256)
        found[kind] = {**spread(levels), 'pictures': number, 'left to the CPU': left,
                       'because': refused}
        report(**found)
    gpu.close()


def spread(levels: np.ndarray) -> dict[str, Any]:
    """Return the largest, mean and 999th of 1000 of differences, and if they keep the bound."""
    total = int(levels.sum())
    if not total:
        return {}
    below = np.cumsum(levels) / total
    found = {'max': int(np.flatnonzero(levels)[-1]),
             'p99.9': int(np.searchsorted(below, 0.999)),
             'mean': round(float(levels @ np.arange(256)) / total, 4),
             'equal': round(float(levels[0]) / total, 4)}
    return {**found, 'within': all(found[name] <= most for name, most in BOUND.items())}


def outcomes(details: dict[str, Any]) -> None:
    """Have both decode damaged and odd pictures; the GPU must take none that the CPU refuses."""
    gpu = Gpu(details['settings'])
    data = encoded(next(photographs(details['photographs'], 1)), (641, 479))
    exif = Image.Exif()
    exif[0x112] = 6
    end = data.rindex(b'\xff\xd9')
    tried = {
        'whole': data, 'turned': encoded(data, exif=exif), 'padded': data + b'\0' * 1000,
        'two': data + data, 'cmyk': encoded(data, mode='CMYK'), 'empty': b'',
        'progressive': encoded(data, progressive=True), 'rgb': encoded(data, keep_rgb=True),
        'no end': data[:end], 'text': b'hello', 'small': encoded(data, (15, 15)),
        'one pixel': encoded(data, (1, 1)), 'lost restart': encoded(
            data, restart_marker_blocks=1).replace(b'\xff\xd1', b'\xff\xd2', 1),
        'half, with an end': data[:len(data) // 2] + b'\xff\xd9',
        'head, with an end': data[:700] + b'\xff\xd9',
        'zeros inside': data[:end // 2] + bytes(2000) + data[end // 2 + 2000:],
        **{f'cut to {share} %': data[:len(data) * share // 100] for share in (1, 20, 60, 99)}}
    found: dict[str, Any] = {}
    for name, picture in tried.items():
        there, here = gpu.look(picture), on_the_cpu(picture)
        found[name] = {
            'gpu': there if isinstance(there, str) else 'decoded',
            'cpu': here if isinstance(here, str) else 'decoded',
            'wrong': not isinstance(there, str) and isinstance(here, str)}
        if not isinstance(there, str) and not isinstance(here, str):
            difference = np.abs(there.astype(np.int16) - here)
            found[name].update(max=int(difference.max()), mean=round(float(difference.mean()), 3))
        report(**found)
    gpu.close()


def damage(details: dict[str, Any]) -> None:
    """
    Decode pictures with random bytes in their data; a good one must come out the same after each.

    `gpu alone` counts what the CPU refuses, `neighbour` the good ones that came out otherwise;
    `lost` says which error the device had, after which nothing else can run.
    """
    gpu = Gpu(details['settings'])
    random = np.random.default_rng(1)
    sources = [encoded(data, size) for size, data in zip(
        ((1920, 1080), (640, 480), (99, 97)), photographs(details['photographs'], 3))]
    good = [gpu.look(data) for data in sources]
    found = {'good ones left to the CPU': sum(isinstance(one, str) for one in good), 'tried': 0,
             'gpu decoded': 0, 'cpu decoded': 0, 'gpu alone': 0, 'neighbour': 0}
    for number in range(300):
        place = number % len(sources)
        broken = bytearray(sources[place])
        first = broken.index(b'\xff\xda') + 14
        for at in random.integers(first, len(broken) - 2, random.integers(1, 20)):
            broken[at] = random.integers(0, 256)
        here = on_the_cpu(bytes(broken))
        try:
            there, neighbour = gpu.decoder.decode([bytes(broken), sources[place]])
            beside = neighbour if isinstance(neighbour, str) else gpu.pixels(neighbour)
        except InferenceError as error:
            report(**found, lost=str(error), number=number)
            sys.exit(3)
        found['tried'] += 1
        found['gpu decoded'] += not isinstance(there, str)
        found['cpu decoded'] += not isinstance(here, str)
        found['gpu alone'] += not isinstance(there, str) and isinstance(here, str)
        found['neighbour'] += not np.array_equal(beside, good[place])
        report(**found)
    gpu.close()


def times(details: dict[str, Any]) -> None:
    """Time one and six pictures until they are decoded, and what the CPU takes for it."""
    gpu = Gpu(details['settings']) if details['settings'].get('engines') != [] else None
    source = list(photographs(details['photographs'], 6))
    found: dict[str, Any] = {}
    for width, height in ((640, 480), (1920, 1080), (3840, 2160)):
        pictures = [encoded(data, (width, height), quality=85) for data in source]
        found[f'{width}x{height}'] = {
            'bytes': int(np.mean([len(data) for data in pictures])),
            **{f'{number} at once': timed(gpu, pictures[:number], details['repeats'])
               for number in (1, 6)}}
        report(**found)
    progressive = [encoded(source[0], (1920, 1080), quality=85, progressive=True)]
    found['progressive 1920x1080'] = timed(gpu, progressive, details['repeats'] // 3)
    report(**found)
    if gpu:
        gpu.close()


def timed(gpu: Optional[Gpu], pictures: list[bytes], repeats: int) -> dict[str, Any]:
    """Return milliseconds, p50 and p99: of the call, until decoded, and of CPU for a picture."""
    called, done, used = [], [], 0.0
    repeats = repeats if gpu else max(1, repeats // 10)
    for number in range(-10, repeats):
        if number == 0:
            used = time.process_time()
        begun = time.perf_counter()
        if gpu is None:
            for data in pictures:
                on_the_cpu(data)
        else:
            results = gpu.decoder.decode(pictures)
            if any(isinstance(result, str) for result in results):
                return {'left': next(result for result in results if isinstance(result, str))}
        returned = time.perf_counter()
        if gpu is not None:
            gpu.stream.mark()
            gpu.stream.wait()
            del results
        if number >= 0:
            called.append((returned - begun) * 1e3)
            done.append((time.perf_counter() - begun) * 1e3)
    used = (time.process_time() - used) * 1e3 / repeats / len(pictures)
    return {'call': percentiles(called), 'decoded': percentiles(done),
            'cpu a picture': round(used, 3)}


def percentiles(values: list[float]) -> list[float]:
    """Return p50 and p99."""
    return [round(float(value), 3) for value in np.percentile(values, [50, 99])]


def memory(details: dict[str, Any]) -> None:
    """Decode two thousand pictures of many sizes in batches; memory must not grow."""
    gpu = Gpu(details['settings'])
    random = np.random.default_rng(2)
    source = next(photographs(details['photographs'], 1))
    pictures = [encoded(source, (int(width), int(width * 3 // 4)))
                for width in random.integers(100, 2000, 30)]
    taken = []
    for number in range(400):
        results = gpu.decoder.decode([pictures[at] for at in random.integers(0, 30, 5)])
        assert not any(isinstance(result, str) for result in results), results
        gpu.stream.drain()
        del results
        if number % 100 == 99:
            free, total = gpu.device.memory_bytes()
            taken.append({
                'device_mib': round((total - free) / 2**20, 1),
                'pictures_mib': round(gpu.decoder.device_bytes / 2**20, 1),
                'host_mib': round(resident_bytes() / 2**20, 1)})
            report(after_each_500=taken)
    gpu.close()


def resident_bytes() -> int:
    """Return the memory that this process has in use on the host."""
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * 4096


if __name__ == '__main__':
    given = json.loads(sys.argv[1])
    {'agreement': agreement, 'outcomes': outcomes, 'damage': damage, 'times': times,
     'memory': memory}[given['what']](given)
