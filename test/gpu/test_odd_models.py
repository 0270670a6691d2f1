"""The models of unusual kinds are what they are called, and are compared with ONNX Runtime."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from resnet_trt_node.contract.model_file import read_model_spec

from tools.gpu import try_models
from tools.gpu.odd_models import write_odd_models

pytestmark = pytest.mark.slow


def test_four_kinds_and_one_that_is_broken(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
        ) -> None:
    monkeypatch.setattr('tools.gpu.odd_models.SIDE', 64)
    models = write_odd_models(tmp_path, 'resnet18d', 'fp16')
    specs = {path.stem: read_model_spec(path) for path in models}
    assert {name: (spec.precision, spec.activation, spec.multi_label)
            for name, spec in specs.items()} == {
        'odd_grey': ('fp32', 'softmax', False), 'odd_pixels': ('fp32', 'softmax', False),
        'odd_multi_label': ('fp32', 'sigmoid', True), 'odd_resnet18d': ('fp16', 'softmax', False)}
    assert 'grey' in specs['odd_grey'].normalisation
    assert 'as they are' in specs['odd_pixels'].normalisation
    broken = tmp_path / 'broken.onnx'
    broken.write_bytes(models[0].read_bytes()[:-1000])
    out = tmp_path / 'out.json'
    monkeypatch.setattr('sys.argv', [
        'try_models', str(out), *map(str, (*models, broken)), '--backend', 'onnxruntime',
        '--engines', str(tmp_path / 'engines')])
    assert try_models.main() == 1
    found = json.loads(out.read_text())
    assert found['broken']['ended_with'] == 1
    assert 'broken.onnx' in found['broken']['log']
    for path in models:
        one = found[path.stem]
        assert one['equal']
        assert one['top1_same'] == '36 of 36'
        # Of models that answer each picture alike nothing would be seen.
        assert one['distinct_answers'] > 1
    assert 'odd_grey {' in capfd.readouterr().out
