"""docs/accuracy.md shows the figures of its JSON files, and those are of `evaluate`."""

from __future__ import annotations

import json
import re

from accuracy_page import main, section, summary
import pytest
from repository import REPOSITORY

DOCS = REPOSITORY / 'docs'
FILES = sorted((DOCS / 'accuracy').glob('*.json'))


def document(**changes):
    """Return what `resnet_trt evaluate --compare --json` gives, shortened."""
    def answers(hits):
        top = {'hits': hits, 'accuracy': hits / 200, 'confidence_95': [0.85, 0.93]}
        return {'top1': top, 'top5': top, 'calibration': {
            'expected_error': 0.0421, 'maximum_error': 0.5, 'mean_confidence': 0.81,
            'nll': 0.51234, 'brier': 0.2, 'bins': [{'count': 1}]}}
    backend = {'name': 'onnxruntime', 'version': '1.2', 'device': 'CPU'}
    return {
        'model': 'models/fp32.onnx', 'images': 'photos.zip/test', 'backend': backend,
        'resize_method': 'fast', 'count': 200, 'failures': [{'file': 'a', 'error': 'b'}],
        'classes': [{}], **answers(180), 'comparison': {
            'model': 'models/int8.onnx', 'backend': backend, **answers(178), 'agreement': {
                'rate': 0.985, 'confidence_95': [0.957, 0.995], 'accuracy_difference': -0.01,
                'accuracy_difference_95': [-0.03, 0.0101], 'only_other_right': 1,
                'only_model_right': 3, 'mcnemar_p': 0.625, 'max_probability_difference': 0.15,
                'mean_kl_nats': 0.0041}}, **changes}


def test_tables_hold_the_figures():
    kept = summary('Mine', 'A note.', [document()])
    assert 'classes' not in kept
    assert 'bins' not in kept['models'][0]['calibration']
    text = section(kept)
    assert text.startswith(
        '## Mine\n\nA note.\n\n200 pictures of `photos.zip/test`; 1 could not be used.\n')
    assert ('| fp32 | onnxruntime 1.2, CPU | 90.00 | 85.0 to 93.0 | 90.00 | 81.00 | 4.21 | '
            '0.5123 | 0.2000 |') in text
    assert ('| int8 | 98.50 | 95.7 to 99.5 | -1.00 | -3.00 to +1.01 | 1 / 3 | 0.625 | 0.1500 | '
            '0.0041 |') in text


@pytest.mark.parametrize(
    'changes', [{'model': 'other.onnx'}, {'count': 199}, {'resize_method': 'exact'}])
def test_results_that_do_not_belong_together_are_refused(changes):
    with pytest.raises(match=f'differ in {next(iter(changes))}'):
        summary('Mine', '', [document(), document(**changes)])


def test_new_results_replace_their_section_only(tmp_path):
    (tmp_path / 'accuracy.md').write_text(
        '# Accuracy\n\nBy hand.\n\n<!-- begin mine: not yet -->\nnothing\n<!-- end mine -->\n')
    (tmp_path / 'raw.json').write_text(json.dumps(document()))
    words = [str(tmp_path), '--name', 'mine', '--title', 'Mine', '--add',
             str(tmp_path / 'raw.json')]
    main(words)
    text = (tmp_path / 'accuracy.md').read_text()
    assert 'By hand.' in text
    assert 'nothing' not in text
    assert text.count('## Mine') == 1
    main([str(tmp_path)])
    assert (tmp_path / 'accuracy.md').read_text() == text


@pytest.mark.parametrize('file', FILES, ids=lambda path: path.stem)
def test_the_page_shows_the_figures_of_the_file(file):
    found = re.search(
        rf'<!-- begin {re.escape(file.stem)}:[^\n]*\n(.*?)<!-- end {re.escape(file.stem)} -->',
        (DOCS / 'accuracy.md').read_text(encoding='utf-8'), re.DOTALL)
    assert found, f'{file.name} is not on the page: python3 -m tools.accuracy_page docs'
    assert found[1].strip() == section(json.loads(file.read_text(encoding='utf-8'))).strip()


def test_the_page_has_no_figures_without_a_file():
    sections = re.findall(
        r'<!-- begin ([\w-]+):.*?-->(.*?)<!-- end', (DOCS / 'accuracy.md').read_text(), re.DOTALL)
    assert {'imagenet-200', 'cifar10'} <= {name for name, _ in sections}
    known = {file.stem for file in FILES}
    assert [name for name, text in sections if '|' in text and name not in known] == []
