"""Weights as timm saves them: their folder, their preprocessing, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from resnet_trt_node.errors import LabelsError, ModelError
from resnet_trt_node.onnx_tools.normalisation import Normalisation
from resnet_trt_node.training.checkpoints import weights as weights_module
from resnet_trt_node.training.checkpoints.declared import DeclaredWeights
from resnet_trt_node.training.checkpoints.initial_network import initial_network
from resnet_trt_node.training.checkpoints.published import TIMM_FILES, TIMM_RULES
from resnet_trt_node.training.checkpoints.timm import (
    published_by_timm, read_config, weights_path)
from resnet_trt_node.training.checkpoints.weights import choose_weights, load_network
from resnet_trt_node.training.networks.architectures import ARCHITECTURES
from resnet_trt_node.training.networks.resnet import ResNet
import torch

pytestmark = pytest.mark.slow

#: As timm 1.0 writes it for ResNet-50-D trained with another mean, shortened.
CONFIG: dict[str, Any] = {
    'architecture': 'resnet50d', 'num_classes': 3, 'num_features': 2048, 'global_pool': 'avg',
    'model_args': {'num_classes': 3, 'in_chans': 3, 'global_pool': 'avg'},
    'pretrained_cfg': {
        'tag': 'ra4_e3600_r224_in1k', 'input_size': [3, 224, 224],
        'test_input_size': [3, 288, 288], 'interpolation': 'bicubic', 'crop_pct': 0.95,
        'test_crop_pct': 1.0, 'crop_mode': 'center', 'mean': [0.5, 0.5, 0.5],
        'std': [0.25, 0.5, 0.5]}}


def _read(tmp_path: Path, **changes: Any) -> Any:
    """Return what is read of the configuration with changes of its parts."""
    content = {**CONFIG, 'pretrained_cfg': dict(CONFIG['pretrained_cfg'])}
    for name, value in changes.items():
        (content if name in ('architecture', 'label_names', 'model_args', 'global_pool')
         else content['pretrained_cfg'])[name] = value
    (tmp_path / 'config.json').write_text(json.dumps(content))
    return read_config(tmp_path / 'model.safetensors')


def test_the_preprocessing_is_what_timm_computes(tmp_path: Path) -> None:
    found = _read(tmp_path, label_names=['a', 'b', 'c'])
    # timm: floor(224 / 0.95), and floor(288 / 1.0) in its tests.
    assert found == DeclaredWeights(
        224, 235, 'bicubic', Normalisation((0.5, 0.5, 0.5), (0.25, 0.5, 0.5)),
        'config.json (timm resnet50d.ra4_e3600_r224_in1k)', (288, 288), ('a', 'b', 'c'),
        'resnet50d')
    assert found.short_side_for(288) == 288
    assert found.short_side_for(448) == 470


def test_older_files_have_all_on_one_level(tmp_path: Path) -> None:
    content = {'architecture': 'resnet50', **CONFIG['pretrained_cfg'], 'crop_pct': 0.875,
               'interpolation': 'bilinear'}
    (tmp_path / 'config.json').write_text(json.dumps(content))
    found = read_config(tmp_path / 'pytorch_model.bin')
    assert found is not None
    assert (found.image_size, found.short_side, found.interpolation) == (224, 256, 'bilinear')


@pytest.mark.parametrize(('changes', 'short_side'), [
    ({'crop_mode': 'squash', 'crop_pct': 1.0}, None), ({'crop_pct': 1.0}, 224),
    ({'crop_pct': 0.965}, 232), ({'input_size': [3, 176, 176], 'crop_pct': 0.9}, 195)])
def test_every_rule_that_can_be_followed_is(
        tmp_path: Path, changes: dict[str, Any], short_side: int | None) -> None:
    assert _read(tmp_path, **changes).short_side == short_side


def test_class_names_may_be_numbered(tmp_path: Path) -> None:
    assert _read(tmp_path, label_names={'1': 'b', '0': 'a', '2': 'a'}).labels == (
        'a (0)', 'b', 'a (2)')
    with pytest.raises(LabelsError, match='not numbered from 0 to 1: pass --labels'):
        _read(tmp_path, label_names={'1': 'b', '5': 'a'})


@pytest.mark.parametrize(('changes', 'keyword'), [
    ({'architecture': 'seresnet50'}, 'network is seresnet50, none of resnet18.*prepare'),
    ({'crop_mode': 'squash'}, 'crop_mode squash.*--resize'),
    ({'crop_mode': 'border'}, 'crop_mode border.*--resize'),
    ({'model_args': {'output_stride': 8, 'act_layer': 'silu'}},
     'output_stride, act_layer of resnet50d was changed.*prepare'),
    ({'global_pool': 'max'}, 'global_pool of resnet50d'),
    ({'model_args': {'global_pool': 'catavgmax'}}, 'global_pool of resnet50d'),
    ({'input_size': [1, 224, 224]}, 'an input of 1x224x224'),
    ({'input_size': [3, 224, 160]}, 'an input of 3x224x160'),
    ({'input_size': 'large'}, 'not as timm writes it'), ({'crop_pct': 1.2}, 'crop_pct of 1.2'),
    ({'mean': [0.5]}, 'not as timm writes it'), ({'std': [0, 0, 0]}, 'not as timm writes it')])
def test_what_cannot_be_followed_is_refused(
        tmp_path: Path, changes: dict[str, Any], keyword: str) -> None:
    with pytest.raises(ModelError, match=f'config.json.*{keyword}') as caught:
        _read(tmp_path, **changes)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('content', [
    '{"batch_size": 4}', '[1, 2]', 'not JSON', '', '{"architectures": ["ResNet"]}', '[' * 9999])
def test_the_settings_of_other_programs_are_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / 'config.json').write_text(content)
    assert read_config(tmp_path / 'net.pth') is None


def test_a_folder_means_the_weights_in_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r'without model\.safetensors or pytorch_model\.bin'):
        weights_path(tmp_path)
    torch.save(ResNet('resnet18', 3).state_dict(), tmp_path / 'pytorch_model.bin')
    assert weights_path(tmp_path) == tmp_path / 'pytorch_model.bin'
    assert choose_weights(None, tmp_path) == (
        'resnet18', str(tmp_path / 'pytorch_model.bin'), None)
    _read(tmp_path, architecture='resnet18')
    assert load_network(None, tmp_path)[1].declared.normalisation.mean == (0.5, 0.5, 0.5)
    _, new, said = initial_network('resnet18', tmp_path, ['a', 'b', 'c'])
    assert not new
    assert said == (
        'training goes on with (pixel / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], '
        'RGB, the weights were trained with (pixel / 255 - [0.5, 0.5, 0.5]) / [0.25, 0.5, 0.5], '
        'RGB',)
    _read(tmp_path)
    with pytest.raises(ModelError, match=r'is resnet50d, .* are those of resnet18'):
        load_network(None, tmp_path)


@pytest.mark.parametrize(('name', 'repository'), [
    ('timm/resnet50.a1_in1k', 'timm/resnet50.a1_in1k'),
    ('hf-hub:timm/resnet50.a1_in1k', 'timm/resnet50.a1_in1k'),
    ('hf_hub:someone/birds', 'someone/birds'), ('resnet50.d_in1k', 'timm/resnet50.d_in1k')])
def test_names_at_hubs_are_told_from_files(name: str, repository: str) -> None:
    for load in (lambda: choose_weights(None, name), lambda: load_network('resnet50', name)):
        with pytest.raises(ModelError, match=f'`hf download {repository} --local-dir DIR`.*DIR$'):
            load()


@pytest.mark.parametrize('name', ['runs/best.pth', 'resnet50.pth', 'none.safetensors', 'none'])
def test_missing_files_are_no_names_at_hubs(name: str) -> None:
    with pytest.raises(ModelError, match='no checkpoint at'):
        load_network('resnet50', name)


def test_a_published_file_is_known_by_its_digest(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'renamed.pth'
    torch.save(ResNet('resnet50', 3).state_dict(), path)
    for digits, rule in (('14fe96d1', (224, 235, 'bicubic', (288, 288))),
                         ('16a12f1b', (224, 256, 'bilinear', (224, 256))),
                         ('59cae1ef', (160, 168, 'bicubic', (224, 235)))):
        monkeypatch.setattr(
            weights_module, 'file_sha256', lambda path, start=digits: start + 56 * '0')
        found = load_network(None, path)[1].declared
        assert (found.image_size, found.short_side, found.interpolation, found.test) == rule
        assert found.source.startswith('timm resnet50.')
    # What torchvision published, passed as a file.
    monkeypatch.setattr(weights_module, 'file_sha256', lambda path: (
        '11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca'))
    assert load_network(None, path)[1].declared.short_side == 232


def test_the_table_of_published_files_is_whole() -> None:
    assert len(TIMM_FILES) == 40
    for digits, (name, rule) in TIMM_FILES.items():
        assert len(digits) == 8
        assert int(digits, 16) >= 0
        assert name.split('.')[0] in ARCHITECTURES
        assert rule in TIMM_RULES
        assert published_by_timm(digits) is not None
    assert published_by_timm('0' * 64) is None
