"""The ImageNet names that ship with the package, against a public collection's own names."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
import zipfile

import pytest
from resnet_trt_node.labels.names import check_labels, imagenet_labels, imagenet_wordnet_ids

_BESIDE = Path(__file__).resolve().parents[3] / 'shared' / 'data'
DATA = Path(os.environ.get('RESNET_TRT_TEST_DATA') or _BESIDE)


def test_there_are_a_thousand_different_names() -> None:
    names = imagenet_labels()
    assert len(names) == 1000
    assert check_labels(names) == names
    # Two names that differ by case alone would be one to many a listener.
    assert len({name.lower() for name in names}) == 1000


@pytest.mark.parametrize(('index', 'name'), [
    (0, 'tench'), (2, 'great white shark'), (134, 'crane (bird)'), (207, 'golden retriever'),
    (264, 'Cardigan (dog)'), (281, 'tabby'), (474, 'cardigan (garment)'),
    (517, 'crane (machine)'), (638, 'maillot (tights)'), (639, 'maillot (swimsuit)'),
    (817, 'sports car'), (920, 'traffic light'), (999, 'toilet tissue')])
def test_known_names_stand_in_their_places(index: int, name: str) -> None:
    assert imagenet_labels()[index] == name


def test_names_agree_with_the_collection_of_every_fifth_class() -> None:
    archive = DATA / 'imagenet-200.zip'
    if not archive.exists():
        pytest.skip(f'no {archive.name} in {DATA}; RESNET_TRT_TEST_DATA names its folder')
    with zipfile.ZipFile(archive) as file:
        table = io.StringIO(file.read('labels.tsv').decode())
    rows = list(csv.DictReader(table, delimiter='\t'))
    assert len(rows) == 200
    names, ids = imagenet_labels(), imagenet_wordnet_ids()
    for row in rows:
        assert row['file'].startswith(f'{ids[int(row["class_index"])]}_')
        # n02930766_cab.JPEG
        name = row['file'].split('_', 1)[1].rsplit('.', 1)[0].replace('_', ' ')
        assert names[int(row['class_index'])] == name


def test_wordnet_ids_are_in_the_order_of_the_classes() -> None:
    ids = imagenet_wordnet_ids()
    assert len(set(ids)) == 1000
    assert list(ids) == sorted(ids)
    assert (ids[0], ids[281], ids[999]) == ('n01440764', 'n02123045', 'n15075141')
