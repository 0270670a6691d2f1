"""
The demo: real photographs go through a real ROS 2 node and come back with names.

It makes a model, records a bag, runs `classifier_node` beside itself, replays the bag, and shows
what came back. Nothing outside the repository is touched but a cache of downloads; other ROS
programs on the machine or network neither see nor disturb it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
import os
from pathlib import Path
import shlex
import shutil
import sys
import time
from typing import IO

from bench.children import Child, wait_until
from bench.environment import profile
from bench.isolation import isolate_ros
from demo_steps import DemoError
from demo_steps.folder import claim_folder
from demo_steps.listener import Listener, RegionResult, Result
from demo_steps.model import get_model
from demo_steps.recording import Camera, CAMERAS, write_recording
from demo_steps.region_answers import draw_scenes, find_region_problems, print_regions
from demo_steps.scenes import TABLE, write_scenes
from demo_steps.sheet import draw_sheet, Tile

from resnet_trt_node.bag.messages import BagImage
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.cli.support.annotated import AnnotatedPictures
from resnet_trt_node.cli.support.console import print_table
from resnet_trt_node.cli.support.sources import Source
from resnet_trt_node.contract.model_file import read_model_spec
from resnet_trt_node.contract.prediction import Prediction
from resnet_trt_node.errors import ResnetTrtError
from resnet_trt_node.imaging.decode import decode_message
from resnet_trt_node.imaging.frame import to_rgb

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 60.0
RESULT_TIMEOUT_S = 20.0

#: (camera, stamp in nanoseconds) names a frame everywhere here.
Frame = tuple[str, int]


def main() -> int:
    """Show the demo; returns 0 if every frame got its result."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').strip().splitlines()[0])
    parser.add_argument('--model', type=Path, help='deployable model to use instead')
    parser.add_argument('--out', type=Path, default=Path('demo'), help='folder of the results')
    arguments = parser.parse_args()
    os.chdir(ROOT)
    try:
        with claim_folder(arguments.out), settle_ros(arguments.out):
            return show(arguments.model, arguments.out)
    except ResnetTrtError as error:
        print(f'demo: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('demo: stopped', file=sys.stderr)
        return 130


def show(model: Path | None, out: Path) -> int:
    """Go through the five steps."""
    start_s = time.perf_counter()
    print('Photographs go through a ROS 2 node and come back named, in half a minute\n'
          '[1/5] A model: weights and everything around them in one ONNX file', flush=True)
    if model is None:
        model = get_model(Path('models'))
    labels = read_model_spec(model).labels

    print('[2/5] A recording: photographs of three cameras in a rosbag2 bag', flush=True)
    bag = out / 'photographs'
    scenes = out / 'scenes'
    for old in (bag, out / 'annotated', scenes):
        shutil.rmtree(old, ignore_errors=True)
    shown = write_recording(bag)
    images = read_images(bag)
    print(f'      {bag}: {len(images)} images at 5 Hz on '
          + ', '.join(camera.topic for camera in CAMERAS))

    print('[3/5] The node classifies what the bag replays, first raw images, then compressed ones',
          flush=True)
    results: dict[Frame, list[Result]] = {}
    latencies_ms: dict[Frame, float] = {}
    for compressed in (False, True):
        run_node(model, bag, compressed, out, results, latencies_ms)

    print('[4/5] What came back')
    predictions = {
        frame: named(results[frame][0], labels) for frame in images if frame in results}
    print_answers(shown, predictions, latencies_ms)
    draw(images, shown, predictions, model, out)
    problems = find_problems(images, results)

    print('[5/5] Regions: two scenes of several photographs, and a table of boxes as a detector '
          'would\n      send them; the node names what is in each box', flush=True)
    regions = write_scenes(scenes)
    answers = run_regions(model, scenes, sum(map(len, regions.values())), out)
    alone = {shown[frame]: names[0].label for frame, names in predictions.items()}
    print_regions(regions, answers, alone)
    draw_scenes(scenes, regions, answers, labels, out / 'regions_sheet.png')
    problems += find_region_problems(regions, answers, alone)
    for problem in problems:
        print(f'demo: {problem}', file=sys.stderr)
    if problems:
        print(f'demo: what the node printed is in {out}/node_*.log', file=sys.stderr)
        return 1
    print_ending(
        out, model, bag, len(images), len(answers), time.perf_counter() - start_s)
    return 0


def settle_ros(out: Path) -> IO[str]:
    """Keep this demo and other ROS programs from each other, while the result is open."""
    claim = isolate_ros()
    # Fast DDS's usual shared memory is smaller than a camera image. Its preset LARGE_DATA would
    # not do: with discovery on this machine only, rmw_fastrtps replaces the built-in transports.
    for name, value in profile('fastdds_large_images.xml').items():
        os.environ.setdefault(name, value)
    os.environ.setdefault('ROS_LOG_DIR', str(out.resolve() / 'ros_log'))
    return claim


def read_images(bag: Path) -> dict[Frame, BagImage]:
    """Return the recorded images in their order: what must be answered."""
    with BagReader(bag) as reader:
        return {(camera_of(image.topic), image.stamp_ns): image for image in reader.images()}


def camera_of(topic: str) -> str:
    """Return the camera that records on an image topic."""
    return next(camera.name for camera in CAMERAS if camera.topic == topic)


def run_node(
        model: Path, bag: Path, compressed: bool, out: Path,
        results: dict[Frame, list[Result]], latencies_ms: dict[Frame, float],
        backend: str = 'auto') -> None:
    """
    Run the node once over the cameras of one transport.

    :param results: takes the answers to each frame.
    :param latencies_ms: takes the time from publishing each frame to its first answer.
    """
    cameras = [camera for camera in CAMERAS if camera.compressed == compressed]
    transport = 'compressed' if compressed else 'raw'
    parameters = {
        'model_path': str(model),
        'backend': backend,
        'cameras': '[' + ', '.join(camera.name for camera in cameras) + ']',
        'image_transport': transport,
        # A robot wants the newest frame; this demo counts every one, however slow the machine.
        'queue_depth': '10',
        'image_reliability': 'reliable',
    }
    with start_node(f'node_{transport}', parameters, out) as node, \
            Listener([camera.name for camera in cameras]) as listener:
        wait_until(lambda: listener.ready, 'the node to be ready', START_TIMEOUT_S, [node])
        published_ns = replay_bag(bag, cameras)
        end_s = time.monotonic() + RESULT_TIMEOUT_S
        # What is missing then is told with the other results.
        wait_until(lambda: published_ns.keys() <= listener.results.keys()
                   or time.monotonic() > end_s, 'the results', 2 * RESULT_TIMEOUT_S, [node])
        stop_s = time.perf_counter()
        code = node.stop()
        stopped_s = time.perf_counter() - stop_s
        if code != 0:
            raise DemoError(f'classifier_node ended with exit code {code}\n{node.tail()}')
        results.update(listener.results)
    for frame, start_ns in published_ns.items():
        if frame in results:
            latencies_ms[frame] = (results[frame][0].received_ns - start_ns) / 1e6
    print(f'      {len(published_ns)} {transport} images published; the node ended '
          f'{stopped_s:.1f} s after Ctrl-C')


def run_regions(
        model: Path, scenes: Path, count: int, out: Path) -> dict[str, list[RegionResult]]:
    """Run the node on the regions of scenes, and return the answers to each region's id."""
    parameters = {
        'model_path': str(model), 'backend': 'auto', 'input': 'regions',
        'queue_depth': '10', 'image_reliability': 'reliable'}
    with start_node('node_regions', parameters, out) as node, Listener() as listener:
        wait_until(lambda: listener.ready, 'the node to be ready', START_TIMEOUT_S, [node])
        arguments = ['--boxes', str(scenes / TABLE), '--play', str(scenes)]
        print('      $ python3 examples/regions/grid_detector.py ' + shlex.join(arguments))
        with Child('detector', 'examples.regions.grid_detector', arguments, out, talks=False) \
                as detector:
            wait_until(lambda: not detector.alive, 'the scenes', START_TIMEOUT_S, [node])
            if detector.stop() != 0:
                raise DemoError(f'grid_detector failed\n{detector.tail()}')
        end_s = time.monotonic() + RESULT_TIMEOUT_S
        wait_until(lambda: len(listener.regions) >= count or time.monotonic() > end_s,
                   'the regions', 2 * RESULT_TIMEOUT_S, [node])
        code = node.stop()
        if code != 0:
            raise DemoError(f'classifier_node ended with exit code {code}\n{node.tail()}')
        return dict(listener.regions)


def start_node(name: str, parameters: dict[str, str], out: Path) -> Child:
    """Start the node as a robot would; a context manager that ends it."""
    arguments = ['--ros-args', '--params-file', 'config/classify.yaml']
    for parameter, value in parameters.items():
        arguments += ['-p', f'{parameter}:={value}']
    print('      $ classifier_node ' + shlex.join(arguments), flush=True)
    (out / f'{name}.log').unlink(missing_ok=True)
    return Child(name, 'resnet_trt_node.node.entry', arguments, out, talks=False)


def replay_bag(bag: Path, cameras: list[Camera]) -> dict[Frame, int]:
    """
    Publish the recorded images at their own pace, as `resnet_trt replay` does.

    :returns: when each frame was published, on `time.perf_counter_ns`.
    """
    from resnet_trt_node.bag.replay import replay
    published_ns: dict[Frame, int] = {}

    def note(image: BagImage) -> None:
        published_ns[camera_of(image.topic), image.stamp_ns] = time.perf_counter_ns()

    with BagReader(bag) as reader:
        replay(
            reader, topics=[camera.topic for camera in cameras],
            wait_for_subscribers=START_TIMEOUT_S, on_progress=note)
    return published_ns


def named(result: Result, labels: Sequence[str]) -> list[Prediction]:
    """Return an answer as predictions of the model."""
    foreign = [name for name, _ in result.classes if name not in labels]
    if foreign:
        raise DemoError(f'the node answered {foreign[0]!r}, which is no class of the model')
    return [Prediction(labels.index(name), name, score) for name, score in result.classes]


def print_answers(
        shown: dict[Frame, str], predictions: dict[Frame, list[Prediction]],
        latencies_ms: dict[Frame, float]) -> None:
    """Print a line for each recorded image, with or without an answer, within 80 columns."""
    rows = []
    for frame, photograph in shown.items():
        camera, stamp_ns = frame
        names = ', '.join(
            f'{one.label} {one.score:.0%}' for one in predictions.get(frame, [])[:2])
        latency = f'{latencies_ms[frame]:.1f} ms' if frame in latencies_ms else '-'
        rows.append(
            (f'{stamp_ns / 1e9:.3f}', camera, photograph, latency, names or 'no result'))
    print_table(('STAMP', 'CAMERA', 'SEES', 'LATENCY', 'TOP 2'), rows, 'lllr')


def draw(
        images: dict[Frame, BagImage], shown: dict[Frame, str],
        predictions: dict[Frame, list[Prediction]], model: Path, out: Path) -> None:
    """Write each answered image with its names, and one sheet of all, a row for each camera."""
    folder = AnnotatedPictures(out / 'annotated', keep=())
    rows: dict[str, list[Tile]] = {}
    for frame in sorted(predictions):
        camera = frame[0]
        image = images[frame]
        source = Source(Path(shown[frame]), partial(decode_message, image.message), image)
        picture = source.load()
        folder.write(source, predictions[frame])
        rows.setdefault(camera, []).append(Tile(
            to_rgb(picture.pixels, picture.order), predictions[frame][:3]))
    if rows:
        title = f'{model.name} on {len(predictions)} photographs of {len(rows)} cameras'
        headings = {describe(camera): rows[camera.name] for camera in CAMERAS
                    if camera.name in rows}
        draw_sheet(title, headings, out / 'contact_sheet.png')


def describe(camera: Camera) -> str:
    """Return what a row of the sheet shows."""
    images = 'compressed images, jpeg and png' if camera.compressed else 'raw images'
    return f'{camera.name} camera: {images}'


def find_problems(
        images: dict[Frame, BagImage], results: dict[Frame, list[Result]]) -> list[str]:
    """Return in words which frames were not answered once, with their own stamp."""
    problems = [
        f'no result for the {camera} image of {stamp_ns} ns'
        for camera, stamp_ns in images.keys() - results.keys()]
    problems += [
        f'a {camera} result is stamped {stamp_ns} ns, which no image is'
        for camera, stamp_ns in results.keys() - images.keys()]
    problems += [
        f'{len(answers)} results for the {camera} image of {stamp_ns} ns'
        for (camera, stamp_ns), answers in results.items() if len(answers) > 1]
    return sorted(problems)


def print_ending(
        out: Path, model: Path, bag: Path, images: int, regions: int, took_s: float) -> None:
    """Say what was shown and where to go from here."""
    command = os.path.relpath(Path(sys.executable).parent / 'resnet_trt')
    print(
        f'\nAll {images} images and {regions} regions came back with their own stamps, '
        f'{took_s:.0f} s in all. Look at\n'
        f'  {out}/contact_sheet.png   every image with its names\n'
        f'  {out}/annotated/          the same one by one\n'
        f'  {out}/regions_sheet.png   the scenes with the names of their regions\n'
        'Try next\n'
        f'  {command} inspect {model}\n'
        f'  {command} classify {model} YOUR_PICTURE.jpg\n'
        f'  {command} classify {model} {bag} --annotate {out}/mine')


if __name__ == '__main__':
    sys.exit(main())
