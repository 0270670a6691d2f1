"""int8 forms of a trained network answer as its fp32 form does, on real photographs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from commands.quantize_command import answers, report_of
from documentation.json_schemas import checked
import numpy as np
from PIL import Image
import pytest
from resnet_trt_node.cli.main import main
from resnet_trt_node.cli.support.example_frames import read_frames
from resnet_trt_node.contract.model_file import read_model_spec

#: Method to the share of equal answers that int8 must reach on other crops of the photographs
#: than those that it was calibrated on. Many of them are nearly a tie.
PHOTOGRAPHS_AGREE = {'entropy': 0.9, 'percentile': 0.93}
#: Lead of the most probable class from which no answer may change.
SURE = 0.15
#: Share on the 200 photographs of ImageNet, which are of what the network was trained for.
IMAGENET_AGREES = 0.97


@pytest.fixture(scope='module')
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with 72 crops of real photographs in `used` and 72 others in `others`."""
    folder = tmp_path_factory.mktemp('photographs')
    (folder / 'used').mkdir()
    (folder / 'others').mkdir()
    for package, names in (
            ('skimage', ('data/astronaut.png', 'data/camera.png', 'data/chelsea.png',
                         'data/coffee.png', 'data/motorcycle_left.png',
                         'data/motorcycle_right.png', 'data/rocket.jpg')),
            ('sklearn', ('datasets/images/china.jpg', 'datasets/images/flower.jpg'))):
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            pytest.skip(f'the photographs of {package} are not installed')
        for name in names:
            with Image.open(Path(spec.origin).parent / name) as picture:
                pixels = np.asarray(picture.convert('RGB'))
            side = 3 * min(pixels.shape[:2]) // 4
            for number in range(16):
                top, left = ((length - side) * step // 3 for length, step in zip(
                    pixels.shape, divmod(number, 4)))
                Image.fromarray(pixels[top:top + side, left:left + side]).save(
                    folder / ('used', 'others')[sum(divmod(number, 4)) % 2]
                    / f'{Path(name).stem}_{number:02}.png')
    return folder


@pytest.mark.parametrize('method', PHOTOGRAPHS_AGREE)
def test_int8_agrees_with_fp32_on_real_photographs(
        efficientnet_lite0: Path, photographs: Path, tmp_path: Path,
        capsys: pytest.CaptureFixture[str], method: str) -> None:
    """A trained network; the two methods that leave values out."""
    out = tmp_path / 'int8.onnx'
    report = report_of(capsys, efficientnet_lite0, photographs / 'used', out, '--method', method)
    assert (report['calibrated_on'], report['int8_layers']) == (58, 34)
    frames, _ = read_frames(
        str(photographs / 'others'), None, read_model_spec(efficientnet_lite0), 999, 0)
    exact, rounded = answers(efficientnet_lite0, frames), answers(out, frames)
    same = exact.argmax(axis=1) == rounded.argmax(axis=1)
    best = np.sort(exact, axis=1)
    print(f'\n{method}: int8 answers as fp32 on {same.mean():.1%} of {len(frames)} crops')
    assert len(frames) == 72
    assert same.mean() >= PHOTOGRAPHS_AGREE[method]
    # Those that change were nearly a tie.
    assert same[best[:, -1] - best[:, -2] > SURE].all()
    assert (best[:, -1] - best[:, -2] > SURE).sum() > 36


def test_int8_agrees_with_fp32_on_imagenet(
        shared_data: Path, efficientnet_lite0: Path, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    archive = shared_data / 'imagenet-200.zip'
    out = tmp_path / 'int8.onnx'
    report_of(capsys, efficientnet_lite0, archive, out, '--method', 'percentile', '--limit', 100)
    assert main(['evaluate', str(efficientnet_lite0), '--compare', str(out), '--images',
                 str(archive), '--backend', 'onnxruntime', '--threads', '2', '--json']) == 0
    document = checked(capsys.readouterr().out)
    agreement = document['comparison']['agreement']
    assert document['count'] == 200
    assert agreement['rate'] >= IMAGENET_AGREES
    assert abs(agreement['accuracy_difference']) <= 0.02
    assert agreement['mean_kl_nats'] < 0.02
