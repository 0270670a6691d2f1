"""The section of docs/performance.md is the one that its JSON gives."""

from __future__ import annotations

from dataclasses import replace
import json

import pytest
from repository import REPOSITORY
from resnet_trt_node.backends.factory import open_backend
from resnet_trt_node.compare.choice import parse_names
from resnet_trt_node.compare.latency import Plan
from resnet_trt_node.compare.machine import cpu_model
from resnet_trt_node.compare.report import milliseconds, verdict
from resnet_trt_node.compare.session import Session
from resnet_trt_node.json_document import json_document
from stand_ins.fake_subject import OPTIONS
from tools.compare_page import main, plot_of, section, write_comparisons

# Polygraphy imports PyTorch where that is installed.
pytestmark = pytest.mark.slow

DOCS = REPOSITORY / 'docs'
RESULTS = sorted((DOCS / 'performance' / 'compare').glob('*.json'))


@pytest.fixture(scope='module')
def document(model, frames):
    session = Session(
        [model], parse_names('onnxruntime,polygraphy:onnxrt'), OPTIONS,
        Plan((1, 2), rounds=3, iterations=6, warm_up=1, settle_ms=0))
    return json_document('compare', {**session.run(frames), 'source': 'generated', 'command': (
        'resnet_trt compare | so --backends tvm,onnxruntime --images /d/a.zip/b')})


def kept(document):
    return {'title': 'Mine', 'note': 'What *it* is.', 'comparison': document}


def test_nothing_is_written_without_results(tmp_path):
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_section_is_written_beside_the_others(document, tmp_path):
    result = tmp_path / 'compare.json'
    result.write_text(json.dumps(document))
    (tmp_path / 'performance.md').write_text('# Performance\n\nothers\n')
    for name in ('first', 'second'):
        main([str(tmp_path), '--name', name, '--title', f'The {name}', '--note', 'What *it* is.',
              '--add', str(result)])
    text = (tmp_path / 'performance.md').read_text()
    assert text.startswith('# Performance\n\nothers\n')
    for name in ('first', 'second'):
        assert f'## The {name}\n\nWhat *it* is.\n\nMeasured on ' in text
        assert f'![latencies](performance_compare_{name}.png)' in text
        assert (tmp_path / f'performance_compare_{name}.png').stat().st_size > 1000
    assert text.count('### Latency\n') == 2
    assert '| so --backends tvm,onnxruntime --images a.zip/b\n' in text
    write_comparisons(tmp_path)
    assert (tmp_path / 'performance.md').read_text() == text


def test_another_format_is_refused(document):
    with pytest.raises(ValueError, match='format 99'):
        section(kept({**document, 'format': 99}), 'plot.png')


@pytest.mark.parametrize('file', RESULTS, ids=lambda file: file.stem)
def test_the_page_of_this_repository_is_that_of_its_results(file):
    text = section(json.loads(file.read_text(encoding='utf-8')), plot_of(file.stem))
    assert text.strip() in (DOCS / 'performance.md').read_text(encoding='utf-8')
    assert (DOCS / plot_of(file.stem)).stat().st_size > 1000


def test_tvm_is_compared_with_tensorrt_on_a_gpu():
    rows = json.loads((DOCS / 'performance' / 'compare' / 'tvm.json').read_text(
        encoding='utf-8'))['comparison']['rows']
    devices = {row['label']: row['device'] for row in rows}
    assert 'NVIDIA' in devices['fp16 tvm']
    assert devices['fp16 tvm'] == devices['fp16 tensorrt']


def test_the_verdict_names_who_is_wrong(document):
    assert verdict(document).startswith('All agree with onnxruntime')
    wrong = json.loads(json.dumps(document))
    wrong['accuracy']['pairs']['polygraphy:onnxrt']['agrees'] = False
    assert verdict(wrong).startswith('polygraphy:onnxrt DISAGREE with onnxruntime')


def test_reasons_of_many_lines_stay_in_their_line(document):
    text = section(kept({**document, 'unavailable': [
        {'label': 'tvm', 'reason': 'its stderr tail:\n  a | b\n  c'}]}), 'plot.png')
    assert '- tvm: its stderr tail: a \\| b c\n' in text


def test_details_name_no_folders(model, frames, monkeypatch):
    def opened(path, name, *implied, **options):
        backend = open_backend(path, name, *implied, **options)
        backend.info = replace(backend.info, details={'engine': '/home/me/x.engine', 'n': '1/2'})
        return backend
    monkeypatch.setattr('resnet_trt_node.compare.choice.open_backend', opened)
    session = Session([model], parse_names('onnxruntime'), plan=Plan(
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
