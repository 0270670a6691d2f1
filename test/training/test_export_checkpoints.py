"""Checkpoints of other programs: the exported model answers as the network that was saved."""

from __future__ import annotations

from argparse import Namespace
from copy import deepcopy
import json
from pathlib import Path
from typing import Any

from documentation.json_schemas import checked
from models.plain_resnet import PlainResNet18
import numpy as np
import onnx
import pytest
from resnet_trt_node.cli.main import main
from resnet_trt_node.contract.model_file import read_model_spec
from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.errors import UsageError
from resnet_trt_node.training.export import export_resnet
from resnet_trt_node.training.preprocessing import GivenPreprocessing
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

pytestmark = pytest.mark.slow

SIDE = 32
FRAMES = np.random.default_rng(11).integers(0, 256, (4, SIDE, SIDE, 3), np.uint8)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class LightningLike(nn.Module):
    """Holds a network and a loss with class weights, as a LightningModule does."""

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.net = network
        self.criterion = nn.CrossEntropyLoss(weight=torch.ones(classes))


def _network(head: Any = None, seed: int = 1, deep: bool = False) -> PlainResNet18:
    return PlainResNet18(nn.Linear(512, 5) if head is None else head, seed, deep)


def _torch(
        network: nn.Module, mean: Any = IMAGENET[0], std: Any = IMAGENET[1],
        frames: Any = FRAMES) -> Any:
    """Return the probabilities by PyTorch alone, the formula written out."""
    x = torch.from_numpy(frames).permute(0, 3, 1, 2) / 255
    x = (x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    with torch.no_grad():
        return network(x).softmax(1).numpy()


def _onnx(path: Path, frames: Any = FRAMES) -> Any:
    import onnxruntime
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return session.run(None, {'images': frames})[0]


def _export(tmp_path: Path, content: Any, *options: str) -> Path:
    checkpoint, out = tmp_path / 'checkpoint.pth', tmp_path / 'out.onnx'
    torch.save(content, checkpoint)
    assert main(['export', '--weights', str(checkpoint), '-o', str(out), '--image-size',
                 str(SIDE), *options]) == 0
    return out


@pytest.mark.parametrize('averaged', [False, True])
def test_torchvisions_training_program(
        tmp_path: Path, averaged: bool, capsys: pytest.CaptureFixture[str]) -> None:
    network, ema = _network(seed=1), AveragedModel(_network(seed=2), use_buffers=True)
    content = {
        'model': network.state_dict(), 'model_ema': ema.state_dict(), 'epoch': 89,
        'optimizer': torch.optim.SGD(network.parameters(), 0.1, momentum=0.9).state_dict(),
        'args': Namespace(model='resnet18', lr=0.5, output_dir=Path('runs'))}
    out = _export(tmp_path, content, *['--ema'] * averaged)
    expected, other = _torch(ema.module), _torch(network)
    if not averaged:
        expected, other = other, expected
    np.testing.assert_allclose(_onnx(out), expected, atol=1e-5)
    assert np.abs(expected - other).max() > 0.05
    text = ' '.join(capsys.readouterr().out.split())
    said = ("averaged weights of 'model_ema.module', not those of 'model'" if averaged else
            "weights of 'model', not the averaged ones of 'model_ema.module'")
    assert f'assumed {said}' in text
    assert said in read_model_spec(out).source


def test_lightning_with_a_compiled_network_and_a_head_of_two_layers(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = _network(nn.Sequential(nn.Dropout(0.5), nn.Linear(512, 3)))
    module = LightningLike(torch.compile(network), 3)  # type: ignore[arg-type]
    out = _export(tmp_path, {
        'epoch': 3, 'global_step': 99, 'pytorch-lightning_version': '2.5.0',
        'state_dict': module.state_dict(), 'callbacks': {'ModelCheckpoint': {'best': 0.9}},
        'hyper_parameters': {'lr': 0.1}}, '--json')
    np.testing.assert_allclose(_onnx(out), _torch(network), atol=1e-5)
    document = checked(capsys.readouterr().out)
    assert document['assumptions'][:3] == [
        "the names of the weights begin with 'net._orig_mod.', which is left out",
        "'criterion.weight' beside the network: not used",
        "'fc.1' is the classifier; layers without weights around it, such as dropout or a "
        'log-softmax, are taken to change nothing']
    assert document['architecture'] == 'resnet18'
    assert list(read_model_spec(out).assumptions) == document['assumptions']


def test_another_preprocessing_is_in_the_graph_and_in_the_metadata(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = _network()
    out = _export(
        tmp_path, {'net': nn.DataParallel(network).state_dict(), 'acc': 93.1},
        '--mean', '.4914', '.4822', '.4465', '--std', '.2023', '.1994', '.201', '--resize',
        'stretch', '--interpolation', 'bicubic', '--num-classes', '5')
    np.testing.assert_allclose(
        _onnx(out), _torch(network, (.4914, .4822, .4465), (.2023, .1994, .201)), atol=1e-5)
    spec = read_model_spec(out)
    assert spec.resize == ResizeRule(None, SIDE, SIDE, 'bicubic')
    assert spec.normalisation == (
        '(pixel / 255 - [0.4914, 0.4822, 0.4465]) / [0.2023, 0.1994, 0.201], RGB')
    assert not [one for one in spec.assumptions if 'preprocessing' in one]
    text = capsys.readouterr().out
    assert f'pixels   {spec.normalisation}' in text
    assert main(['inspect', str(out)]) == 0
    text = ' '.join(capsys.readouterr().out.split())
    assert f'pixels {spec.normalisation}' in text
    assert f'assumed {spec.assumptions[0]}' in text


def test_pixels_of_another_order_and_unit(tmp_path: Path) -> None:
    network = _network()
    mean, std = (104.0, 117.0, 124.0), (57.0, 58.0, 59.0)
    out = _export(
        tmp_path, network.state_dict(), '--channel-order', 'bgr', '--mean', *map(str, mean),
        '--std', *map(str, std))
    expected = _torch(
        network, [one / 255 for one in mean], [one / 255 for one in std],
        np.ascontiguousarray(FRAMES[..., ::-1]))
    np.testing.assert_allclose(_onnx(out), expected, atol=1e-5)


def test_what_nothing_says_is_assumed_and_said(tmp_path: Path) -> None:
    torch.save(_network().state_dict(), tmp_path / 'net.pth')
    spec = export_resnet(None, tmp_path / 'net.pth', tmp_path / 'net.onnx', resize=40,
                         preprocessing=GivenPreprocessing(image_size=SIDE)).spec
    assert spec.assumptions == (
        "the weights say nothing of their preprocessing: ImageNet's usual is taken for "
        '--mean, --std, --interpolation',
        'the weights have no class names, so that they get made-up class names: --labels FILE '
        'changes them')
    assert spec.resize == ResizeRule(40, SIDE, SIDE, 'bilinear')


def test_a_folder_of_timm(tmp_path: Path) -> None:
    library = pytest.importorskip('safetensors.torch', reason='safetensors is not installed')
    network = _network(nn.Linear(512, 3), deep=True)
    library.save_file(network.state_dict(), tmp_path / 'model.safetensors')
    (tmp_path / 'config.json').write_text(json.dumps({
        'architecture': 'resnet18d', 'num_classes': 3, 'label_names': ['ant', 'bee', 'cat'],
        'pretrained_cfg': {
            'tag': 'test', 'input_size': [3, 64, 64], 'test_input_size': [3, 96, 96],
            'interpolation': 'bicubic', 'crop_pct': 0.95, 'test_crop_pct': 1.0,
            'mean': [0.5, 0.5, 0.5], 'std': [0.25, 0.5, 0.5]}}))
    frames = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), np.uint8)
    out = tmp_path / 'out.onnx'
    spec = export_resnet(None, tmp_path, out).spec
    expected = _torch(network, (0.5, 0.5, 0.5), (0.25, 0.5, 0.5), frames)
    np.testing.assert_allclose(_onnx(out, frames), expected, atol=1e-5)
    assert spec.labels == ('ant', 'bee', 'cat')
    assert spec.resize == ResizeRule(67, 64, 64, 'bicubic')
    assert spec.architecture == 'resnet18d'
    assert spec.source == (
        'model.safetensors, prepared as config.json (timm resnet18d.test) says')
    assert spec.assumptions == (
        'the image size that the weights were trained with, 64; timm tests them with 96 too, '
        'which --image-size 96 takes',)
    assert export_resnet(None, tmp_path, out, image_size=96).spec.resize == ResizeRule(
        96, 96, 96, 'bicubic')
    names = {node.op_type for node in onnx.load(str(out)).graph.node}
    assert 'AveragePool' in names


def test_pruning_keeps_what_the_files_say(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = _network(nn.Linear(512, 3), deep=True)
    torch.save({'state_dict': nn.DataParallel(network).state_dict()}, tmp_path / 'model.pth')
    (tmp_path / 'config.json').write_text(json.dumps({
        'architecture': 'resnet18d', 'label_names': ['ant', 'bee', 'cat'], 'pretrained_cfg': {
            'input_size': [3, SIDE, SIDE], 'interpolation': 'bicubic', 'crop_pct': 0.8,
            'mean': [0.5, 0.5, 0.5], 'std': [0.25, 0.5, 0.5]}}))
    pruned = tmp_path / 'elsewhere' / 'pruned.pth'
    pruned.parent.mkdir()
    assert main(['prune', str(tmp_path / 'model.pth'), '-o', str(pruned)]) == 0
    assert "assumed: the names of the weights begin with 'module.'" in capsys.readouterr().err
    spec = export_resnet(None, pruned, tmp_path / 'out.onnx').spec
    assert spec.resize == ResizeRule(40, SIDE, SIDE, 'bicubic')
    assert spec.labels == ('ant', 'bee', 'cat')
    assert spec.normalisation.endswith('/ [0.25, 0.5, 0.5], RGB')
    reference = deepcopy(network)
    reference.load_state_dict(torch.load(pruned, weights_only=True)['state_dict'])
    np.testing.assert_allclose(
        _onnx(tmp_path / 'out.onnx'), _torch(reference, (0.5, 0.5, 0.5), (0.25, 0.5, 0.5)),
        atol=1e-5)


@pytest.mark.parametrize(('options', 'keyword'), [
    ({'mean': [0.5]}, 'belong together'), ({'scale': 1.0}, '--scale belongs to'),
    ({'bgr': True}, 'bgr needs --mean'), ({'mean': [0], 'std': [1]}, '--scale 1 or --scale 255'),
    ({'mean': [124], 'std': [0.2]}, 'different units'), ({'image_size': 8}, 'image-size 8')])
def test_incomplete_preprocessing_is_refused_before_the_weights_are_read(
        options: dict[str, Any], keyword: str) -> None:
    with pytest.raises(UsageError, match=keyword):
        GivenPreprocessing(**options)


def test_an_interpolation_that_is_not_known_is_refused(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(_network().state_dict(), tmp_path / 'net.pth')
    (tmp_path / 'config.json').write_text(json.dumps({
        'architecture': 'resnet18', 'pretrained_cfg': {
            'input_size': [3, SIDE, SIDE], 'interpolation': 'lanczos',
            'mean': [0.5, 0.5, 0.5], 'std': [0.25, 0.5, 0.5]}}))
    out = tmp_path / 'out.onnx'
    arguments = ['export', '--weights', str(tmp_path / 'net.pth'), '-o', str(out)]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1
    assert 'interpolation lanczos' in error
    assert '--interpolation with one of bilinear' in error
    assert not out.exists()
    assert main([*arguments, '--interpolation', 'bicubic']) == 0
