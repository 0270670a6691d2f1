"""What came back for the regions of the scenes: a table, a picture, and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from demo_steps import DemoError
from demo_steps.listener import RegionResult
from demo_steps.scenes import TOO_SMALL
import numpy as np
from PIL import Image

from resnet_trt_node.cli.support.console import print_table
from resnet_trt_node.contract.prediction import Prediction
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.regions.draw import annotate_regions
from resnet_trt_node.regions.region import Region, RegionAnswer

#: Of a region that cannot be classified: one class without a name.
_NOTHING = (('', 0.0),)
_GAP = 16


def print_regions(
        regions: Mapping[str, Sequence[Region]], answers: Mapping[str, list[RegionResult]],
        alone: Mapping[str, str]) -> None:
    """Print a line for each region: its name, and the one that its photograph got alone."""
    rows = []
    for file, found in regions.items():
        for region in found:
            photograph = _photograph(region)
            results = answers.get(region.track_id, [])
            name = ''.join(f'{name} {score:.0%}' for name, score in results[0].classes[:1]) \
                if results and results[0].classes != _NOTHING else ''
            box = region.box
            rows.append((
                file, photograph,
                f'{box.width:.0f}x{box.height:.0f} at {box.center_x:.0f}, {box.center_y:.0f}',
                name or ('too small' if region is TOO_SMALL else 'no result'),
                alone.get(photograph, '-')))
    print_table(('SCENE', 'SHOWS', 'BOX', 'NAME', 'ALONE'), rows, 'lllll')


def find_region_problems(
        regions: Mapping[str, Sequence[Region]], answers: Mapping[str, list[RegionResult]],
        alone: Mapping[str, str]) -> list[str]:
    """Return in words which regions have no single answer, or another than alone."""
    problems = []
    for region in [region for found in regions.values() for region in found]:
        results = answers.get(region.track_id, [])
        if len(results) != 1:
            problems.append(f'{len(results)} results for the region {region.track_id}')
        elif region is TOO_SMALL:
            if results[0].classes != _NOTHING:
                problems.append(f'the region {region.track_id} is too small and has a name')
        elif results[0].age_ns != 0:
            problems.append(f'the answer for {region.track_id} is of another image')
        else:
            name = results[0].classes[0][0] if results[0].classes else ''
            wanted = alone.get(_photograph(region))
            if name != wanted:
                problems.append(
                    f'the region {region.track_id} is {name!r}, alone it was {wanted!r}')
    return problems


def draw_scenes(
        folder: Path, regions: Mapping[str, Sequence[Region]],
        answers: Mapping[str, list[RegionResult]], labels: Sequence[str], path: Path) -> None:
    """Write the scenes with the names of their regions, one below the other."""
    pictures = []
    for file, found in regions.items():
        pixels = np.asarray(Image.open(folder / file).convert('RGB'))
        pictures.append(annotate_regions(
            Frame(pixels, 'rgb'), found,
            [_answer(answers.get(region.track_id, []), labels) for region in found]))
        pictures.append(np.full((_GAP, *pixels.shape[1:]), 255, np.uint8))
    Image.fromarray(np.concatenate(pictures[:-1])).save(path)


def _answer(results: Sequence[RegionResult], labels: Sequence[str]) -> RegionAnswer:
    """Return what came back as the node's own answer; the message does not tell the reason."""
    if not results:
        return RegionAnswer('failed')
    if results[0].classes == _NOTHING:
        return RegionAnswer('too_small')
    foreign = [name for name, _ in results[0].classes if name not in labels]
    if foreign:
        raise DemoError(f'the node answered {foreign[0]!r}, which is no class of the model')
    return RegionAnswer('answered', tuple(
        Prediction(labels.index(name), name, score) for name, score in results[0].classes))


def _photograph(region: Region) -> str:
    return region.track_id.partition('/')[2]
