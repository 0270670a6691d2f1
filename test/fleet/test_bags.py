"""Which bags a command line names, and what their drives are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnet_trt_node.errors import BagError, DataError

bags = pytest.importorskip('resnet_trt_node.fleet.bags', exc_type=Exception)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two bags in folders and two in files, and what is no bag."""
    for name in ('city', 'old/city'):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / 'metadata.yaml').touch()
        (tmp_path / name / 'part_0.mcap').touch()
    for name in ('night.mcap', 'old/fog.db3.zstd', 'old/notes.txt', 'old/._fog.mcap'):
        (tmp_path / name).touch()
    return tmp_path


def names(found, folder: Path) -> list[tuple[str, str]]:
    """Return bags and drives, the bags from their folder on."""
    return [(str(Path(one.name).relative_to(folder)), one.drive.partition('~')[0])
            for one in found]


ALL = [('city', 'city'), ('night.mcap', 'night'), ('old/city', 'city'),
       ('old/fog.db3.zstd', 'fog')]


def test_a_folder_stands_for_all_its_bags(folder):
    found = bags.find_bags([str(folder)], {})
    assert names(found, folder) == ALL
    # Two of the same name get different folders, and the same ones each time.
    drives = [one.drive for one in found]
    assert len(set(drives)) == 4
    assert drives == [one.drive for one in bags.find_bags([str(folder)], {})]


@pytest.mark.parametrize(('word', 'wanted'), [
    ('old/*', [('old/city', 'city'), ('old/fog.db3.zstd', 'fog')]),
    ('**/*.mcap', [('city/part_0.mcap', 'part_0'), ('night.mcap', 'night'),
                   ('old/city/part_0.mcap', 'part_0')]),
    ('city', [('city', 'city')]), ('city/metadata.yaml', [('city', 'city')]),
    ('night.mcap', [('night.mcap', 'night')])])
def test_paths_and_patterns(folder, word, wanted):
    assert names(bags.find_bags([str(folder / word)], {}), folder) == wanted


def test_a_list_names_bags_from_its_own_folder_on(folder):
    (folder / 'list.txt').write_text('# drives\ncity\n\nold\n  night.mcap\n')
    assert sorted(names(bags.find_bags([f'@{folder}/list.txt'], {}), folder)) == ALL


def test_a_bag_named_twice_is_read_once(folder):
    words = [str(folder / 'city'), str(folder / 'city'), str(folder)]
    assert sorted(names(bags.find_bags(words, {}), folder)) == ALL


def test_a_bag_of_an_earlier_run_keeps_its_drive(folder):
    found = bags.find_bags([str(folder)], {str(folder / 'city'): 'city'})
    assert found[0].drive == 'city'
    assert found[2].drive.startswith('city~')


def test_a_new_bag_does_not_take_the_drive_of_an_earlier_one(folder):
    known = {str(folder / 'city'): 'city'}
    found, = bags.find_bags([str(folder / 'old' / 'city')], known)
    assert found.drive.startswith('city~')


@pytest.mark.parametrize(('word', 'error', 'text'), [
    ('nowhere', BagError, 'there is no bag'), ('nowhere/*', DataError, 'matches nothing'),
    ('empty', DataError, 'there are no bags in')])
def test_what_has_no_bags_is_an_error(folder, word, error, text):
    (folder / 'empty').mkdir()
    with pytest.raises(error, match=text):
        bags.find_bags([str(folder / word)], {})


def test_a_list_that_cannot_be_read_is_an_error(folder):
    (folder / 'list.txt').write_text('# nothing yet\n')
    with pytest.raises(DataError, match='names no bag'):
        bags.find_bags([f'@{folder}/list.txt'], {})
    with pytest.raises(DataError, match=r'cannot read the list of bags .*lost\.txt'):
        bags.find_bags([f'@{folder}/lost.txt'], {})


@pytest.mark.parametrize(('name', 'drive'), [
    ('/a/2024:05=x', '2024%3A05%3Dx'), ('s3://bucket/drive.mcap', 'drive'), ('/a/..', 'bag'),
    ('/a/été', 'été')])
def test_a_drive_is_a_name_of_a_folder(name, drive):
    assert bags._stem(name) == drive
