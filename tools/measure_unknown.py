"""
Measure which criterion tells best that an answer is wrong, or of nothing that the model knows.

Three are compared: the best score, the margin (best minus second best) and the entropy. Each is
judged by the area under its ROC curve: the chance that a picture to keep stands above one to
refuse. The intervals are bootstrapped: photographs are drawn, and with each all that was cut from
it; a difference is of the same draw.

MODEL knows the 1000 ImageNet classes, such as models/efficientnet_lite0.onnx of `make demo`, and
what `resnet_trt calibrate` makes of it. The photographs are a zip file or folder with a table of
classes, CIFAR-10 has class folders; of its classes ImageNet has no deer, and kinds of eight
others. The results become docs/unknown.json and the tables of docs/how-to/unknown.md.

Usage: python3 -m tools.measure_unknown MODEL ... --photographs ZIP --cifar ZIP/test [--docs docs]
       python3 -m tools.measure_unknown [--docs docs]      (writes the page from the JSON file)
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Optional

import cv2
import numpy as np
from numpy.typing import NDArray
from resnet_trt_node.backends.classifier import Classifier
from resnet_trt_node.backends.factory import open_backend
from resnet_trt_node.contract.model_file import read_model_spec
from resnet_trt_node.contract.prediction import sureness, UNKNOWN_CRITERIA
from resnet_trt_node.datasets.labelled import LabelledPictures
from resnet_trt_node.datasets.store import PictureStore
from resnet_trt_node.imaging.frame import Frame, to_rgb
from tools.markdown_page import read_json, table, write_json, write_section

CRITERIA = ('score', 'margin', 'entropy')
#: CIFAR-10's classes of which ImageNet has kinds; it also has one horse, the sorrel.
_KNOWN_CIFAR = ('airplane', 'automobile', 'bird', 'cat', 'dog', 'frog', 'ship', 'truck')
_UNKNOWN_CIFAR = 'deer'
_CIFAR_PICTURES = 480
#: The share of right answers that a limit may refuse, where criteria are compared at one.
_REFUSED_RIGHT = 0.05
#: Values of unknown_below for which the page tells what is refused.
_LIMITS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
_DRAWS = 2000
_SEED = 0
_COMMAND = 'tools/measure_unknown.py from docs/unknown.json'


@dataclass(frozen=True)
class Picture:
    """
    A picture to be classified.

    :param kind: which set it belongs to.
    :param origin: number of the photograph that it was cut from; those of one are drawn together.
    :param pixels: RGB.
    :param target: its class, -1 where it has none.
    """

    kind: str
    origin: int
    pixels: NDArray[np.uint8]
    target: int = -1


@dataclass(frozen=True)
class Answers:
    """
    What became of the pictures of one set.

    :param values: float64 (3, N), how known each is by each of `CRITERIA`.
    :param origins: int64 (N,).
    :param right: bool (N,), whether the best class is the right one.
    """

    values: NDArray[np.float64]
    origins: NDArray[np.int64]
    right: NDArray[np.bool_]

    def where(self, mask: NDArray[np.bool_]) -> Answers:
        """Return those of a mask."""
        return Answers(self.values[:, mask], self.origins[mask], self.right[mask])


def criteria(row: NDArray[np.float32]) -> tuple[float, float, float]:
    """Return score, margin and e to the minus entropy; more is more known."""
    second, best = np.partition(row.astype(np.float64), -2)[-2:]
    return float(best), float(best - second), sureness(row)


def auroc(keep: NDArray[np.float64], refuse: NDArray[np.float64]) -> float:
    """Return the chance that one to keep stands above one to refuse; a tie counts half."""
    ordered = np.sort(refuse)
    below = np.searchsorted(ordered, keep, 'left') + np.searchsorted(ordered, keep, 'right')
    return float(below.mean() / (2 * len(refuse)))


def compare(keep: Answers, refuse: Answers) -> dict[str, Any]:
    """
    Judge the criteria on two sets.

    :returns: of each criterion its area, and of all but the score what it gains over the score,
        each with its 95 % interval.
    """
    exact = np.array([auroc(*pair) for pair in zip(keep.values, refuse.values)])
    random = np.random.default_rng(_SEED)
    origins = np.unique(np.concatenate([keep.origins, refuse.origins]))
    drawn = []
    for _ in range(_DRAWS):
        counts = dict(zip(*np.unique(
            random.choice(origins, len(origins)), return_counts=True)))
        sample = [np.repeat(one.values, [counts.get(o, 0) for o in one.origins], axis=1)
                  for one in (keep, refuse)]
        if sample[0].size and sample[1].size:
            drawn.append([auroc(*pair) for pair in zip(*sample)])
    areas = np.array(drawn)
    gains = areas - areas[:, :1]
    return {
        'keep': keep.values.shape[1], 'refuse': refuse.values.shape[1],
        'criteria': {
            name: {'auroc': exact[place], 'auroc_95': _interval(areas[:, place]), **(
                {} if place == 0 else {
                    'gain': exact[place] - exact[0], 'gain_95': _interval(gains[:, place])})}
            for place, name in enumerate(CRITERIA)}}


def _interval(values: NDArray[np.float64]) -> list[float]:
    return [float(bound) for bound in np.percentile(values, (2.5, 97.5))]


def photographs(labelled: LabelledPictures) -> Iterator[Picture]:
    """Yield each photograph, and what is made of it."""
    for origin, item in enumerate(labelled.items):
        pixels = _pixels(labelled.frame(item))
        side = min(pixels.shape[:2])
        yield Picture('photographs', origin, pixels, item.target)
        yield Picture('small', origin, _reduced(pixels, 48 / side), item.target)
        yield Picture('blurred', origin, _reduced(pixels, 6 / side))
        part = side // 4
        for rows in (slice(part), slice(-part, None)):
            for columns in (slice(part), slice(-part, None)):
                yield Picture('corners', origin, np.ascontiguousarray(pixels[rows, columns]))


def _pixels(frame: Frame) -> NDArray[np.uint8]:
    return to_rgb(frame.pixels, frame.order)


def _reduced(pixels: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Return a picture at a fraction of its size; the model's own resize enlarges it again."""
    return np.asarray(
        cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)


def blank_pictures() -> Iterator[Picture]:
    """Yield pictures of one colour with a camera's noise."""
    random = np.random.default_rng(_SEED)
    for origin in range(200):
        noisy = random.integers(0, 256, (1, 1, 3)) + random.normal(0, 4, (224, 224, 3))
        yield Picture('blank', origin, np.clip(noisy.round(), 0, 255).astype(np.uint8))


def cifar_pictures(root: Path) -> Iterator[Picture]:
    """Yield pictures of CIFAR-10, as many of what ImageNet has as of what it has not."""
    with PictureStore(root) as store:
        names = store.listing.pictures
        # Each picture is its own origin.
        origins = count()
        for kind, classes in (('cifar', _KNOWN_CIFAR), ('deer', (_UNKNOWN_CIFAR,))):
            for name in classes:
                files = sorted(one for one in names if one.startswith(f'{name}/'))
                for file in files[:_CIFAR_PICTURES // len(classes)]:
                    yield Picture(kind, next(origins), _pixels(store.frame(file)))


def measure(model: Path, images: Path, cifar: Path) -> dict[str, Any]:
    """Classify everything with one model and judge the criteria."""
    labels = read_model_spec(model).labels
    with open_backend(str(model), 'onnxruntime', max_batch_size=8, num_buffers=1) as backend, \
            LabelledPictures(images, None, labels) as labelled:
        classifier = Classifier(backend)
        found: dict[str, list[tuple[Any, ...]]] = {}
        for source in (photographs(labelled), blank_pictures(), cifar_pictures(cifar)):
            for picture, row in classifier.probabilities(
                    source, lambda picture: Frame(picture.pixels, 'rgb')):
                found.setdefault(picture.kind, []).append(
                    (criteria(row), picture.origin, int(row.argmax()) == picture.target))
        info = backend.info
    sets = {kind: Answers(
        np.array([one[0] for one in rows]).T, np.array([one[1] for one in rows]),
        np.array([one[2] for one in rows])) for kind, rows in found.items()}
    comparisons = {}
    for kind, title in (('photographs', 'photographs'), ('small', 'photographs of 48 pixels')):
        answers = sets[kind]
        comparisons[f'right and wrong answers, {title}'] = compare(
            answers.where(answers.right), answers.where(~answers.right))
    for kind, title in (
            ('corners', 'their corners, a quarter of the side'),
            ('blurred', 'the same of 6 pixels, enlarged'),
            ('blank', 'one colour and noise')):
        comparisons[f'photographs and {title}'] = compare(sets['photographs'], sets[kind])
    comparisons['CIFAR-10, eight known classes and deer'] = compare(sets['cifar'], sets['deer'])
    whole = sets['photographs']
    shown = {
        'right answers': whole.where(whole.right), 'wrong answers': whole.where(~whole.right),
        **{kind: sets[kind] for kind in ('corners', 'blurred', 'blank', 'deer')}}
    limits = np.quantile(shown['right answers'].values, _REFUSED_RIGHT, axis=1)
    return {
        'model': model.stem, 'backend': f'{info.name} {info.version}, {info.device}',
        'comparisons': comparisons,
        'at_one_limit': [{'criterion': name, **{
            kind: float((one.values[place] < limits[place]).mean())
            for kind, one in shown.items()}} for place, name in enumerate(CRITERIA)],
        'refused': {name: [{'unknown_below': limit, **{
            kind: float((one.values[CRITERIA.index(name)] < limit).mean())
            for kind, one in shown.items()}} for limit in _LIMITS] for name in UNKNOWN_CRITERIA}}


def section(results: dict[str, Any]) -> str:
    """Return the tables as Markdown."""
    lines = []
    for one in results['models']:
        lines += [
            f'### {one["model"]}', '',
            f'{one["backend"]}, {results["images"]}; in brackets 95 % of {results["draws"]:,} '
            'bootstrap draws.', '', *_areas(one['comparisons']), '',
            'Refused in %, at the limit that refuses one right answer in '
            f'{round(1 / _REFUSED_RIGHT)}:', '', *_shares(one['at_one_limit']), '']
        for name, shares in one['refused'].items():
            lines += [f'Refused in %, with `unknown_criterion: {name}`:', '', *_shares(shares), '']
    return '\n'.join(lines)


def _areas(comparisons: dict[str, Any]) -> list[str]:
    rows = []
    for title, found in comparisons.items():
        cells: list[object] = [title, f'{found["keep"]} and {found["refuse"]}']
        for name in CRITERIA:
            one = found['criteria'][name]
            cells.append(f'{one["auroc"]:.3f} ({_range(one["auroc_95"], ".3f")})')
        cells += [f'{found["criteria"][name]["gain"]:+.3f} '
                  f'({_range(found["criteria"][name]["gain_95"], "+.3f")})'
                  for name in CRITERIA[1:]]
        rows.append(cells)
    return table(['to keep and to refuse', 'pictures', *CRITERIA,
                  *(f'{name} minus score' for name in CRITERIA[1:])], rows)


def _shares(found: list[dict[str, Any]]) -> list[str]:
    """Return a table whose rows are the documents, the first cell as it is, shares in %."""
    return table(list(found[0]), [
        [cells[0], *(f'{100 * share:.1f}' for share in cells[1:])]
        for cells in (list(one.values()) for one in found)])


def _range(bounds: list[float], form: str) -> str:
    return ' to '.join(format(bound, form) for bound in bounds)


def main(words: Optional[list[str]] = None) -> None:
    """Measure if a model is named, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('models', nargs='*', type=Path, metavar='MODEL')
    parser.add_argument('--photographs', type=Path, metavar='ZIP')
    parser.add_argument('--cifar', type=Path, metavar='ZIP')
    parser.add_argument('--docs', type=Path, default=Path('docs'), help='folder of the results')
    arguments = parser.parse_args(words)
    file = arguments.docs / 'unknown.json'
    if arguments.models:
        if arguments.photographs is None or arguments.cifar is None:
            parser.error('MODEL needs --photographs and --cifar')
        write_json(file, {
            'images': arguments.photographs.name, 'draws': _DRAWS, 'models': [
                measure(model, arguments.photographs, arguments.cifar)
                for model in arguments.models]})
    write_section(
        arguments.docs / 'how-to' / 'unknown.md', 'unknown', section(read_json(file)), _COMMAND)


if __name__ == '__main__':
    main()
