"""Class folders by WordNet id or index, as ImageNet's pictures are laid out."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
import pytest
from resnet_trt_node.datasets.class_folders import ClassFolders
from resnet_trt_node.errors import DataError
from resnet_trt_node.labels.names import imagenet_labels


def lay_out(root: Path, *folders: str) -> Path:
    for name in folders:
        (root / name).mkdir(parents=True)
        Image.new('RGB', (4, 4)).save(root / name / 'ILSVRC2012_val_00000293.JPEG')
    return root


@pytest.mark.parametrize(('labels', 'targets', 'first'), [
    (imagenet_labels(), (0, 207, 999), 'tench'),
    (('background', *imagenet_labels()), (1, 208, 1000), 'tench'),
    (('golden retriever', 'toilet tissue', 'tench'), (2, 0, 1), 'tench'),
    (('n02099601 golden', 'n01440764 tench', 'n15075141 paper'), (1, 0, 2), 'n01440764 tench')])
def test_folders_by_wordnet_id(
        tmp_path: Path, labels: tuple[str, ...], targets: tuple[int, ...], first: str) -> None:
    root = lay_out(tmp_path / 'val', 'n01440764', 'n02099601', 'n15075141')
    with ClassFolders(root, labels) as data:
        assert tuple(item.target for item in data.items) == targets
        assert data.assumptions == (
            f'{root}: the names of the folders were read as classes by WordNet id: n01440764 is '
            f'{first!r}',)
        assert len(data.absent) == len(labels) - 3
        assert data.counts()[first] == 1


def test_folders_by_index(tmp_path: Path) -> None:
    root = lay_out(tmp_path / 'val', '0', '10', '2')
    with ClassFolders(root, imagenet_labels()) as data:
        assert [item.target for item in data.items] == [0, 10, 2]
        assert data.assumptions == (
            f"{root}: the names of the folders were read as classes by index: 10 is 'brambling'",)
        assert imagenet_labels()[10] not in data.absent


def test_names_come_before_numbers(tmp_path: Path) -> None:
    root = lay_out(tmp_path / 'val', '0', '10', '2')
    with ClassFolders(root, ('0', '10', '2', '7')) as data:
        assert [item.target for item in data.items] == [0, 1, 2]
        assert data.assumptions == ()


def test_a_number_behind_the_last_class_is_refused(tmp_path: Path) -> None:
    # Numbers from 1, such as those of ILSVRC, whose order is another one.
    root = lay_out(tmp_path / 'val', '1', '2', '3')
    with pytest.raises(DataError, match='unknown classes: 3; classes without a folder: red'):
        ClassFolders(root, ('red', 'green', 'blue'))
    with pytest.raises(DataError, match='unknown classes: n99999999; classes without'):
        ClassFolders(lay_out(tmp_path / 'x', 'n01440764', 'n99999999'), imagenet_labels())


def test_numbered_classes_that_are_learnt_are_in_the_order_of_other_programs(
        tmp_path: Path) -> None:
    """As torchvision's ImageFolder has them; checkpoints say which order theirs is."""
    with ClassFolders(lay_out(tmp_path, *map(str, range(12)))) as data:
        assert data.classes == tuple(sorted(map(str, range(12))))
