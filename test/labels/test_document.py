"""Class names as Hugging Face, timm, Ultralytics, Keras and others keep them; what is assumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from resnet_trt_node.errors import LabelsError
from resnet_trt_node.labels.file import read_labels
from resnet_trt_node.labels.names import imagenet_labels
from resnet_trt_node.onnx_tools.class_names import labels_for, labels_in
import yaml

NAMES = ('tench', 'goldfish', 'great white shark')
IDS = ('n01440764', 'n01443537', 'n01484850')
NUMBERED = {str(number): name for number, name in enumerate(NAMES)}


def read(tmp_path: Path, content: Any, name: str = 'labels.json') -> tuple[Any, list[str]]:
    path, said = tmp_path / name, []
    if not isinstance(content, str):
        content = json.dumps(content)
    path.write_text(content)
    return read_labels(path, said.append), [line.replace(f'{path}: ', '') for line in said]


HUGGING_FACE = {
    'architectures': ['ResNetForImageClassification'], 'depths': [3, 4, 6, 3],
    'hidden_sizes': [256, 512], 'id2label': dict(reversed(NUMBERED.items())),
    'label2id': {name: int(number) for number, name in NUMBERED.items()}, 'num_labels': 3,
    'model_type': 'resnet'}
ULTRALYTICS = {'path': 'imagenet', 'train': 'train', 'val': 'val', 'nc': 3}


@pytest.mark.parametrize('content', [
    HUGGING_FACE,
    {'architectures': ['x'], 'label2id': HUGGING_FACE['label2id']},
    {'architecture': 'resnet50', 'num_classes': 3, 'label_names': list(NAMES)},
    {'architecture': 'resnet50', 'pretrained_cfg': {'label_names': list(NAMES)}},
    {number: [one, name] for (number, name), one in zip(NUMBERED.items(), IDS)},
    {number: {'wnid': one, 'name': name} for (number, name), one in zip(NUMBERED.items(), IDS)},
    {'mapping': NUMBERED},
    {'class_to_idx': HUGGING_FACE['label2id'], 'epoch': 3},
    {'categories': [{'id': 2, 'name': NAMES[2], 'supercategory': 'fish'},
                    {'id': 0, 'name': NAMES[0]}, {'id': 1, 'name': NAMES[1]}]},
    [{'index': 1, 'label': NAMES[1]}, {'index': 0, 'label': NAMES[0]},
     {'index': 2, 'label': NAMES[2]}],
])
def test_names_in_json(tmp_path: Path, content: Any) -> None:
    assert read(tmp_path, content) == (NAMES, [])


@pytest.mark.parametrize('names', [
    list(NAMES), {int(number): name for number, name in reversed(NUMBERED.items())}])
def test_names_in_yaml_of_ultralytics(tmp_path: Path, names: Any) -> None:
    text = yaml.safe_dump({**ULTRALYTICS, 'names': names, 'map': dict(zip(IDS, NAMES))})
    assert read(tmp_path, text, 'data.yaml') == (NAMES, [])


@pytest.mark.parametrize(('name', 'content', 'said'), [
    ('a.json', {'label_names': list(IDS), 'label_descriptions': dict(zip(IDS, NAMES))},
     'the names are those of label_descriptions for the WordNet ids'),
    ('a.json', dict(zip(IDS, NAMES)),
     'no number of a class is there; the names are taken in their order'),
    ('a.json', list(zip(IDS, NAMES)),
     'no number of a class is there; the names are taken in their order'),
    ('a.json', {'id2label': NUMBERED, 'label2id': {'tench': 1, 'goldfish': 0}},
     'the names are those of id2label; label2id differs'),
    ('a.json', {'author': 'x', 'fish': NUMBERED}, "the names are those under 'fish'"),
    ('a.csv', 'label\n' + '\n'.join(NAMES),
     "'label' on the first line is taken for the head of the column"),
    ('a.csv', 'wnid,name\n' + '\n'.join(map(','.join, zip(IDS, NAMES))),
     "the names are those of column 'name'; not used: 'wnid'|no column numbers the classes; they "
     'are taken in the order of the lines'),
    ('a.csv', '\n'.join(f'{one},{number},{NAMES[number]}' for number, one in enumerate(IDS)),
     'the names are those of column 3; not used: column 1'),
])
def test_what_was_assumed_is_said(tmp_path: Path, name: str, content: Any, said: str) -> None:
    assert read(tmp_path, content, name) == (NAMES, said.split('|'))


@pytest.mark.parametrize(('name', 'content', 'words'), [
    ('a.json', dict(zip(IDS[::-1], NAMES[::-1])), 'ids are out of order, so it could be read two'),
    ('a.json', {'names': list(NAMES), 'classes': list(NAMES[::-1])},
     'names and classes hold different names, so it could be read two ways'),
    ('a.yaml', yaml.safe_dump({'names': list(NAMES), 'nc': 4}), 'names holds 3 names, and nc'),
    ('a.json', {'one': list(NAMES), 'two': list(NAMES)}, 'neither a list of names nor a mapping'),
    ('a.csv', 'index,id,name\n0,1,a\n1,0,b\n', 'columns 1 and 2 are numbers, so the index'),
    ('a.csv', 'index,class_name,display_name\n0,a,b\n1,c,d\n', 'columns 2 and 3 of this'),
    ('a.csv', 'index,name\nzero,a\none,b\n', "column 'index' does not hold numbers alone"),
    ('a.csv', 'index,count\n0,7\n1,8\n', 'no column holds names'),
    ('a.csv', 'a,b\nc,d,e\n', 'has the same columns on every line'),
    ('a.csv', 'index,name\n1,a\n2,b\n', 'number 0 is missing'),
])
def test_what_could_be_read_two_ways_is_refused(
        tmp_path: Path, name: str, content: Any, words: str) -> None:
    with pytest.raises(LabelsError, match=words) as refusal:
        read(tmp_path, content, name)
    assert '\n' not in str(refusal.value)


@pytest.mark.parametrize('metadata', [
    {'names': str(dict(enumerate(NAMES))), 'stride': '1', 'imgsz': '[224, 224]'},
    {'names': str(list(NAMES))}, {'id2label': json.dumps(NUMBERED)},
    {'label_names': json.dumps(NAMES)}, {'classes': '\n'.join(NAMES)}])
def test_names_in_the_metadata_of_an_onnx_file(metadata: dict[str, str]) -> None:
    said: list[str] = []
    assert labels_in({'author': 'x', **metadata}, 'their.onnx', said.append) == NAMES
    key, = {'names', 'id2label', 'label_names', 'classes'} & set(metadata)
    assert said == [f"class names: '{key}' in the metadata of their.onnx"]


@pytest.mark.parametrize('metadata', [
    {}, {'names': ''}, {'names': 'tench'}, {'names': '{'}, {'names': '__import__("os").getpid()'},
    {'names': '[' * 100_000}, {'names': '3'}, {'description': str(list(NAMES))}])
def test_metadata_without_names(metadata: dict[str, str]) -> None:
    assert labels_in(metadata, 'their.onnx') is None


def test_metadata_with_wrong_numbers_is_refused() -> None:
    with pytest.raises(LabelsError, match=r"^'names' in the metadata of a\.onnx: .*number 0 is"):
        labels_in({'names': "{1: 'tench', 2: 'goldfish'}"}, 'a.onnx')


def test_the_background_of_tensorflow_is_left_out_where_the_model_has_none() -> None:
    said: list[str] = []
    assert labels_for(('background', *NAMES), 3, 'a.onnx', said.append) == NAMES
    assert said == ["'background', the first of 4 class names, is left out: a.onnx has 3 classes"]
    assert labels_for(None, 1001, 'a.onnx', said.append) == ('background', *imagenet_labels())
    assert said[1].startswith('a.onnx has 1001 classes: they are taken for those of TensorFlow')
    assert labels_for(None, 1000, 'a.onnx') == imagenet_labels()
    assert labels_for(None, 1002, 'a.onnx')[0] == 'class_0000'
    assert labels_for(('background', *NAMES), 4, 'a.onnx') == ('background', *NAMES)
    with pytest.raises(LabelsError, match=r'4 labels, but a\.onnx has 3'):
        labels_for(('shark', *NAMES), 3, 'a.onnx')
    with pytest.raises(LabelsError, match=r"3 labels, .* 4 classes: .*'background' as the first"):
        labels_for(NAMES, 4, 'a.onnx')
