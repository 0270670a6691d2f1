"""
Resize frames on the GPU, compare them with Pillow's bit for bit, and time it.

Usage: PYTHONPATH=test/helpers:. python -m tools.gpu.try_resize PICTURES -o OUT.json [--rounds 5]

PICTURES is a folder of photographs. For three sizes of frame each is compared with Pillow's
resize and crop; then milliseconds are measured, p50 and p99, methods taking turns: `put`, what the
preprocess thread does (a copy to page-locked memory); `device`, from there to the row of the batch
in device memory, copy and kernel, until the GPU has finished; both together; `in_place`, both for
messages in page-locked memory, which are not copied by the CPU; and the CPU's two methods.
"""

from __future__ import annotations

import argparse
from functools import partial
import json
from pathlib import Path
from time import perf_counter_ns
from types import SimpleNamespace
from typing import Any, Callable, Optional

import numpy as np
from pictures.resized_by_pillow import resized_by_pillow
from PIL import Image
from resnet_trt_node.backends.cuda.device import CudaDevice
from resnet_trt_node.backends.cuda.kernel import Kernel
from resnet_trt_node.backends.cuda.page_locked import page_locked_memory, PageLockedMemory
from resnet_trt_node.backends.cuda.resized_rows import KERNEL, ResizedRows
from resnet_trt_node.backends.cuda.stream import CudaStream
from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.on_device.grid import plan_grid
from resnet_trt_node.imaging.on_device.source import plan_source
from resnet_trt_node.imaging.raw.encodings import check_image
from resnet_trt_node.imaging.resize import Resizer

#: Width and height of the frames; '6x1080p' is six of them in one batch.
SIZES = {'VGA': (640, 480), '1080p': (1920, 1080), '4K': (3840, 2160), '6x1080p': (1920, 1080)}
_RULE = ResizeRule(256, 224, 224)
_CALLS = 100


class Bench:
    """
    A batch buffer on the GPU.

    :param device: owned by this thread.
    :param batch: rows of the buffer.
    :param rule: how frames become rows.
    """

    def __init__(self, device: CudaDevice, batch: int, rule: ResizeRule) -> None:
        self._rule = rule
        images = device.host_array((batch, rule.crop_height, rule.crop_width, 3), np.uint8)
        self._out = device.host_array(images.shape, np.uint8)
        self._target = device.memory(images.nbytes)
        self._stream: CudaStream = device.stream()
        self.shared = page_locked_memory(device.index)
        self._rows = ResizedRows(
            device, Kernel(device, *KERNEL, Path('build/gpu/engines'), print), images,
            self._target, self.shared, print)

    def put(self, messages: list[Any]) -> None:
        """Copy frames to page-locked memory, as a preprocess thread does."""
        self._rows.clear()
        for _ in range(2):
            for place, message in enumerate(messages):
                raw = check_image(message)
                source, grid = plan_source(raw), plan_grid(self._rule, raw.height, raw.width)
                assert source is not None
                assert grid is not None
                if not self._rows.put(place, source, grid, grid.rows, grid.columns):
                    self._rows.finish()
                    break
            else:
                return
        raise SystemExit('there is no room for these frames')

    def resize(self, count: int) -> None:
        """Bring the rows to the device, and wait until they are there."""
        self._rows.enqueue(self._stream, count)
        self._stream.mark()
        self._stream.wait()

    def rows(self, count: int) -> np.ndarray:
        """Return the rows as they are on the device."""
        self._stream.copy_out(self._out, self._target)
        self._stream.drain()
        return self._out[:count].copy()


def message_of(pixels: np.ndarray, shared: Optional[PageLockedMemory] = None) -> Any:
    """Return RGB pixels as an image message, where asked in page-locked memory."""
    height, width = pixels.shape[:2]
    if shared is not None:
        memory = shared.allocate(pixels.size)
        memory[:] = pixels.reshape(-1)
        pixels = memory.reshape(pixels.shape)
    return SimpleNamespace(
        height=height, width=width, step=3 * width, encoding='rgb8', is_bigendian=0,
        data=pixels.reshape(-1))


def compare(bench: Bench, pictures: list[Path], size: tuple[int, int], rule: ResizeRule) -> Any:
    """Return how many values differ from Pillow's, and of how many."""
    differing = 0
    for path in pictures:
        image = Image.open(path).convert('RGB').resize(size, Image.Resampling.LANCZOS)
        bench.put([message_of(np.asarray(image))])
        bench.resize(1)
        differing += int((bench.rows(1)[0] != resized_by_pillow(
            np.asarray(image), rule)).sum())
    return {'differing_values': differing, 'of': len(pictures) * rule.crop_height
            * rule.crop_width * 3}


def time_calls(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return p50 and p99 of each call in milliseconds, the calls taking turns."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            for _ in range(_CALLS):
                start_ns = perf_counter_ns()
                call()
                taken[name].append((perf_counter_ns() - start_ns) / 1e6)
    return {name: [round(float(value), 4) for value in np.percentile(times, [50, 99])]
            for name, times in taken.items()}


def main(arguments: Optional[list[str]] = None) -> None:
    """Compare, measure, and write the JSON file."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n\n')[0])
    parser.add_argument('pictures', type=Path)
    parser.add_argument('-o', '--output', type=Path, required=True)
    parser.add_argument('--rounds', type=int, default=5)
    given = parser.parse_args(arguments)
    pictures = sorted(
        path for path in given.pictures.iterdir() if path.suffix.lower() in ('.jpg', '.jpeg'))
    document: dict[str, Any] = {'pictures': len(pictures), 'sizes': {}}
    with CudaDevice(0, print) as device:
        document['device'] = device.name
        bicubic = ResizeRule(256, 224, 224, 'bicubic')
        benches = {
            'bilinear': (Bench(device, 6, _RULE), _RULE),
            'bicubic': (Bench(device, 6, bicubic), bicubic)}
        row = np.empty((_RULE.crop_height, _RULE.crop_width, 3), np.uint8)
        for name, size in SIZES.items():
            count = 6 if name.startswith('6') else 1
            entry: dict[str, Any] = {} if count > 1 else {
                filter_: compare(bench, pictures, size, rule)
                for filter_, (bench, rule) in benches.items()}
            bench = benches['bilinear'][0]
            pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)
            messages = [message_of(pixels.copy()) for _ in range(count)]
            direct = [message_of(pixels, bench.shared) for _ in range(count)]

            def both(bench: Bench, messages: list[Any]) -> None:
                bench.put(messages)
                bench.resize(len(messages))
            bench.put(messages)
            calls: dict[str, Callable[[], object]] = {
                'put': lambda bench=bench, messages=messages: bench.put(messages),
                'device': lambda bench=bench, count=count: bench.resize(count),
                'put_and_device': partial(both, bench, messages),
                'in_place': partial(both, bench, direct)}
            for method in ('fast', 'exact') if count == 1 else ():
                resizer = Resizer(_RULE, method)  # type: ignore[arg-type]
                calls[f'cpu_{method}'] = lambda resizer=resizer, pixels=pixels: resizer.resize(
                    Frame(pixels, 'rgb'), row)
            entry['ms_p50_p99'] = time_calls(calls, given.rounds)
            document['sizes'][name] = entry
            print(name, json.dumps(entry), flush=True)
    given.output.write_text(json.dumps(document, indent=1) + '\n')


if __name__ == '__main__':
    main()
