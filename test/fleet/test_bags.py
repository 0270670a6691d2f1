"""Which bags a command line names, and what their drives are called."""

from __future__ import annotations

from hashlib import sha256
import os
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


def test_a_list_has_comments_on_lines_of_their_own_and_a_mark_of_its_encoding(folder):
    path = folder / 'list.txt'
    path.write_bytes('\ufeffcity\n  # the rest\n\tnight.mcap\r\n'.encode())
    assert names(bags.find_bags([f'@{path}'], {}), folder) == [ALL[0], ALL[1]]
    path.write_bytes('\ufeff# all\ncity # the first\n'.encode())
    with pytest.raises(BagError, match=r'no bag .*city # the first: check the path, and wr'):
        bags.find_bags([f'@{path}'], {})


def test_a_bag_named_twice_is_read_once(folder):
    words = [str(folder / 'city'), str(folder / 'city'), str(folder)]
    assert sorted(names(bags.find_bags(words, {}), folder)) == ALL


def test_relative_and_absolute_names_are_one_bag(folder, monkeypatch):
    monkeypatch.chdir(folder)
    words = ['city', './city/', str(folder / 'city'), 'old/../city', 'city/metadata.yaml', '*']
    found = bags.find_bags(words, {})
    # Processes of Ray have other working folders.
    assert [one.name for one in found] == [str(folder / name) for name, _ in ALL]
    assert bags.find_bags(['city'], {'city': 'before'}) == [bags.Bag('city', 'before')]


@pytest.mark.parametrize('word', ['*/*', '**', '**/*', '*'])
def test_files_of_a_bag_that_is_found_are_no_bags(folder, word):
    for name in ('night.mcap', 'old/fog.db3.zstd'):
        (folder / name).unlink()
    found = names(bags.find_bags([str(folder / word)], {}), folder)
    assert sorted({*found, ('city', 'city')}) == [('city', 'city'), ('old/city', 'city')]


def test_a_pattern_for_folders_matches_no_files(folder):
    assert names(bags.find_bags([f'{folder}/*/'], {}), folder) == [
        one for one in ALL if one[0] != 'night.mcap']


def test_a_bag_behind_links_is_found_once_under_its_own_name(folder):
    (folder / 'a_latest').symlink_to('city')
    (folder / 'old' / 'night.mcap').symlink_to('../night.mcap')
    for place in ('loop', 'old/loop', 'old/back'):
        (folder / place).symlink_to(folder)
    for words in (['.'], ['a_latest', '.'], ['*'], ['**'], ['**/*', 'loop']):
        found = bags.find_bags([str(folder / word) for word in words], {})
        assert sorted(names(found, folder)) == ALL
    (folder / 'elsewhere' / 'far').mkdir(parents=True)
    (folder / 'elsewhere' / 'far' / 'more').symlink_to(folder / 'city')
    found, = bags.find_bags([str(folder / 'elsewhere')], {})
    assert found == bags.Bag(str(folder / 'elsewhere' / 'far' / 'more'), 'more')


@pytest.mark.parametrize('word', ['.', '*', '**', '**/*.mcap'])
def test_hidden_folders_are_left_out_unless_they_are_named(folder, word):
    hidden = folder / '.Trash-0' / 'files' / 'gone.mcap'
    hidden.parent.mkdir(parents=True)
    hidden.touch()
    found = bags.find_bags([str(folder / word)], {})
    assert 'gone' not in {one.drive for one in found}
    assert bags.find_bags([f'file://{folder}'], {}) == [
        bags.Bag(f'file://{one.name}', one.drive.partition('~')[0] + (
            f'~{sha256(f"file://{one.name}".encode()).hexdigest()[:8]}' * ('~' in one.drive)))
        for one in bags.find_bags([str(folder)], {})]
    for named in ('.Trash-0', '.Trash-0/*/*', '.Trash*/files'):
        gone, = bags.find_bags([str(folder / named)], {})
        assert gone.name == str(hidden)


@pytest.mark.parametrize('word', ['.', '*', '*/*', '**', '**/*.mcap'])
def test_a_folder_that_cannot_be_listed_is_an_error(folder, word, monkeypatch):
    closed = folder / 'old'
    # Root may list any folder.
    scandir, access = os.scandir, os.access

    def refuse(path):
        if os.fspath(path) == str(closed):
            raise PermissionError(13, 'Permission denied', str(closed))
        return scandir(path)
    monkeypatch.setattr(os, 'scandir', refuse)
    monkeypatch.setattr(os, 'access', lambda path, mode: (
        os.fspath(path) != str(closed) and access(path, mode)))
    with pytest.raises(BagError, match=rf'cannot list {closed}: Permission denied: make it'):
        bags.find_bags([str(folder / word)], {})


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
