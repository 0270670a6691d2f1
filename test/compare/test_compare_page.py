"""The section of docs/performance.md is the one that its JSON gives."""

from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path

from fake_subject import OPTIONS
import pytest
from resnet_trt_node.compare.choice import parse_choices
from resnet_trt_node.compare.latency import Plan
from resnet_trt_node.compare.machine import cpu_model
from resnet_trt_node.compare.report import milliseconds, verdict
from resnet_trt_node.compare.session import Session
from resnet_trt_node.inference.factory import open_backend
from tools.compare_page import section, write_comparison

DOCS = Path(__file__).resolve().parents[2] / 'docs'


@pytest.fixture(scope='module')
def document(model, frames):
    session = Session(
        [model], parse_choices('onnxruntime,polygraphy:onnxrt'), OPTIONS,
        Plan((1, 2), rounds=3, iterations=6, warm_up=1, settle_ms=0))
    return {**session.run(frames), 'source': 'generated', 'command': 'resnet_trt compare | so'}


def test_nothing_is_written_without_results(tmp_path):
    assert not write_comparison(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_section_is_written_beside_the_others(document, tmp_path):
    (tmp_path / 'performance').mkdir()
    (tmp_path / 'performance' / 'compare.json').write_text(json.dumps(document))
    (tmp_path / 'performance.md').write_text('# Performance\n\nothers\n')
    assert write_comparison(tmp_path)
    text = (tmp_path / 'performance.md').read_text()
    assert text.startswith('# Performance\n\nothers\n')
    assert '## TVM against TensorRT\n' in text
    assert '### Latency\n' in text
    assert '![latencies](performance_compare.png)' in text
    assert (tmp_path / 'performance_compare.png').stat().st_size > 1000
    assert write_comparison(tmp_path)
    assert (tmp_path / 'performance.md').read_text() == text


def test_another_format_is_refused(document):
    with pytest.raises(ValueError, match='format 99'):
        section({**document, 'format': 99})


def test_the_page_of_this_repository_is_that_of_its_results():
    results = DOCS / 'performance' / 'compare.json'
    if not results.exists():
        pytest.skip('docs/performance/compare.json was not measured yet')
    text = section(json.loads(results.read_text(encoding='utf-8')))
    assert text.strip() in (DOCS / 'performance.md').read_text(encoding='utf-8')


def test_the_verdict_names_who_is_wrong(document):
    assert verdict(document).startswith('All agree with onnxruntime')
    wrong = json.loads(json.dumps(document))
    wrong['accuracy']['pairs']['polygraphy:onnxrt']['agrees'] = False
    assert verdict(wrong).startswith('polygraphy:onnxrt DISAGREE with onnxruntime')


def test_reasons_of_many_lines_stay_in_their_line(document):
    text = section({**document, 'unavailable': [
        {'label': 'tvm', 'reason': 'its last words:\n  a | b\n  c'}]})
    assert '- tvm: its last words: a \\| b c\n' in text


def test_details_tell_no_folders(model, frames, monkeypatch):
    def opened(path, name, options):
        backend = open_backend(path, name, options)
        backend.info = replace(backend.info, details={'engine': '/home/me/x.engine', 'n': '1/2'})
        return backend
    monkeypatch.setattr('resnet_trt_node.compare.choice.open_backend', opened)
    session = Session([model], parse_choices('onnxruntime'), plan=Plan(
        rounds=3, iterations=3, warm_up=1, settle_ms=0))
    assert session.run(frames)['rows'][0]['details'] == {'engine': 'x.engine', 'n': '1/2'}


@pytest.mark.parametrize(('value', 'text'), [
    (0.36, '0.360'), (9.9994, '9.999'), (12.345, '12.35'), (1234.56, '1,234.6')])
def test_milliseconds(value, text):
    assert milliseconds(value) == text


def test_the_processor_is_named(tmp_path):
    path = tmp_path / 'cpuinfo'
    path.write_text('processor\t: 0\nmodel name\t: A CPU @ 2 GHz\nflags\t\t: fpu hypervisor\n\n'
                    'processor\t: 1\nmodel name\t: A CPU @ 2 GHz\n')
    assert cpu_model(path) == 'A CPU @ 2 GHz (virtual machine)'
    path.write_text('processor\t: 0\nCPU part\t: 0xd42\n')
    assert 'virtual' not in cpu_model(path)
    assert cpu_model(tmp_path / 'none')
