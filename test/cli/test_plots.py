"""What the pictures say: which model and set, numbers of one notation, nothing over another."""

from __future__ import annotations

from itertools import combinations
import math
import re
from typing import Any

from models.tiny_model import colour_picture, COLOURS, write_tiny_model
import pytest
from resnet_trt_node.compare.plot import draw
from resnet_trt_node.text.plot_text import three_digits
from resnet_trt_node.training.learning_curve import draw_learning_curve
from resnet_trt_node.training.metrics import EpochMetrics

pytest.importorskip('matplotlib', reason='pictures are drawn by matplotlib')
# matplotlib takes its time.
pytestmark = pytest.mark.slow

ON_CPU = ('--backend', 'onnxruntime', '--threads', '1')
LONG = 'a_model_with_a_very_long_name_' * 4 + 'end'


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the figures that are saved."""
    from matplotlib.figure import Figure
    figures: list[Any] = []
    save = Figure.savefig

    def keep(figure: Any, *args: Any, **options: Any) -> None:
        figures.append(figure)
        save(figure, *args, **options)
    monkeypatch.setattr(Figure, 'savefig', keep)
    return figures


def check(figure: Any) -> None:
    """Check that no tick has an exponent or an offset, and that no texts lie over each other."""
    figure.canvas.draw()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            assert axis.get_offset_text().get_text() == ''
            low, high = sorted(axis.get_view_interval())
            labels = [label for place, label in zip(
                axis.get_ticklocs(), axis.get_ticklabels()) if low <= place <= high]
            for label in labels:
                assert not re.search(r'\d+e[+-]?\d|\\times|10\^', label.get_text())
            boxes = [label.get_window_extent() for label in labels if label.get_text()]
            for one, other in combinations(boxes, 2):
                assert not one.overlaps(other), [label.get_text() for label in labels]
    titles = [figure._suptitle, *(axes.title for axes in figure.axes)]
    boxes = [title.get_window_extent() for title in titles if title and title.get_text()]
    assert boxes
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)
    for box in boxes:
        assert 0 <= box.x0 < box.x1 <= figure.bbox.x1


def comparison(factor: float) -> dict[str, Any]:
    def row(label: str, p50_ms: float) -> dict[str, Any]:
        curve_ms = [p50_ms * (0.9 + 0.002 * place) for place in range(101)]
        return {'label': label, 'latency': [
            {'curve_ms': [size * value for value in curve_ms]} for size in (1, 40)]}
    return {
        'plan': {'batch_sizes': [1, 64]}, 'source': '256 of holiday', 'models': [
            {'name': 'a.onnx', 'architecture': 'resnet50', 'input': [160, 224, 3]}] * 2,
        'rows': [row('fp32', 0.33), row(LONG, 0.33 * factor)]}


@pytest.mark.parametrize('factor', [1.001, 1.3, 4, 30, 3000])
def test_latencies(drawn, factor):
    assert draw(comparison(factor)) is not None
    figure, = drawn
    check(figure)
    assert figure._suptitle.get_text() == 'Latency of resnet50 224x160; frames: 256 of holiday'
    assert [axes.get_title(loc='left') for axes in figure.axes] == ['batch 1', 'batch 64']
    assert {text.get_text() for text in figure.axes[0].texts} >= {'0.330'}
    for text in [text for axes in figure.axes for text in axes.texts]:
        number = text.get_text()
        assert number == three_digits(float(number.replace(',', '')))
        # What stands beside the slowest row is in the picture, too.
        assert text.get_window_extent().x1 <= figure.bbox.x1


def test_the_learning_curve(drawn, tmp_path):
    for count in (1, 2, 30):
        history = [EpochMetrics(
            epoch, 1e-5 + 1e-2 * (1 + math.cos(math.pi * epoch / 30)), 1 / epoch, 0.5, 1 / epoch,
            0.91 - 0.8 / epoch, 0.9, 100.0, 1.0, 1.0) for epoch in range(1, count + 1)]
        assert draw_learning_curve(
            history, 'resnet18 on holiday, 300 pictures', tmp_path / 'curve.png')
        check(drawn[-1])
        assert drawn[-1]._suptitle.get_text() == 'resnet18 on holiday, 300 pictures'
        for axes in drawn[-1].axes:
            low, high = axes.get_xlim()
            assert all(place == int(place) for place in axes.get_xticks() if low < place < high)


@pytest.mark.parametrize('name', ['colours.onnx', f'{LONG}.onnx'])
def test_confusion_and_reliability(resnet_trt, drawn, tmp_path, name):
    from PIL import Image
    model = write_tiny_model(tmp_path / name, labels=[
        f'{colour}, {LONG}' if place % 2 else colour for place, colour in enumerate(COLOURS)])
    folder = tmp_path / 'holiday'
    folder.mkdir()
    for colour in COLOURS:
        Image.fromarray(colour_picture(colour)).save(folder / f'{colour}.png')
    table = folder / 'labels.tsv'
    table.write_text(''.join(
        f'{colour}.png\t{min(place, 5)}\n' for place, colour in enumerate(COLOURS)))
    done = resnet_trt(
        'evaluate', model, '--images', folder, '--compare-backend', 'onnxruntime',
        '--confusion', tmp_path / 'confusion.png', '--reliability', tmp_path / 'reliability.png',
        *ON_CPU)
    assert done.code == 0, done.err
    matrix, reliability = drawn
    check(matrix)
    check(reliability)
    title = matrix._suptitle.get_text()
    assert title.startswith(name[:12])
    assert '.onnx, onnxruntime on holiday\ntop-1 75.0 % of 8 pictures' in title
    assert reliability._suptitle.get_text() == 'Reliability on holiday, 8 pictures'
    assert '.onnx, onnxruntime\ncalibration error ' in reliability.axes[0].get_title()
