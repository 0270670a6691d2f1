"""Stretches of a bag: together they have every image once, with the number it has in the bag."""

from __future__ import annotations

from bags.image_bags import BagWriter
from bags.sample_bags import pixels_of, START_NS, write_bag
from bags.video_bags import write_video_bag
from pictures.video_streams import encode
import pytest
from resnet_trt_node.bag import stretches
from resnet_trt_node.bag.message_types import COMPRESSED_IMAGE, FFMPEG_PACKET
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.errors import BagError


def read_all(bag: BagReader, images: int) -> tuple[int, list[tuple[str, int, int]]]:
    """Return how many stretches a bag has, and topic, number and log time of their images."""
    topics = bag.image_topics()
    divided = stretches.divide(bag, topics, images)
    return len(divided), [
        (one.topic, one.number, one.log_time_ns)
        for stretch in divided for one in stretches.read(bag, stretch, topics)]


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize(('images', 'number'), [(0, 1), (1, 20), (3, 7), (7, 3), (20, 1)])
def test_stretches_have_every_image_once(tmp_path, storage, images, number):
    with BagReader(write_bag(tmp_path / 'bag', 10, storage)) as bag:
        found, read = read_all(bag, images)
        assert found == number
        assert [(topic, log_ns) for topic, _, log_ns in read] == [
            (one.topic, one.log_time_ns) for one in bag.images()]
    for topic in ('/front/image', '/left/image/compressed'):
        assert [place for name, place, _ in read if name == topic] == list(range(10))


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_images_of_one_log_time_stay_together(tmp_path, storage):
    with BagWriter(tmp_path / 'bag', storage) as writer:
        for number in range(9):
            writer.write_image('/a', pixels_of(number), number, 'a', log_time_ns=number // 4)
    with BagReader(tmp_path / 'bag') as bag:
        divided = stretches.divide(bag, ['/a'], 2)
        assert [one.count['/a'] for one in divided] == [4, 4, 1]
        # Where a stretch begins, the image before it is known.
        assert [one.previous_ns for one in divided] == [{}, {'/a': 0}, {'/a': 1}]
        read = [one.stamp_ns for part in divided for one in stretches.read(bag, part, ['/a'])]
    assert read == list(range(9))


def test_log_times_before_1970_are_divided_too(tmp_path):
    with BagWriter(tmp_path / 'bag', 'sqlite3') as writer:
        for number in range(-3, 3):
            writer.write_image('/a', pixels_of(0), 7, 'a', log_time_ns=number)
    with BagReader(tmp_path / 'bag') as bag:
        assert read_all(bag, 2) == (3, [('/a', number + 3, number) for number in range(-3, 3)])


def test_a_file_without_an_index_is_one_stretch(tmp_path):
    file, = write_bag(tmp_path / 'bag', 10).glob('*.mcap')
    # Its recorder was killed.
    file.write_bytes(file.read_bytes()[:-200])
    with BagReader(file) as bag:
        found, read = read_all(bag, 2)
    assert (found, len(read)) == (1, 20)


def test_an_image_that_is_not_readable_keeps_its_number(tmp_path):
    with BagWriter(tmp_path / 'bag') as writer:
        for number in range(4):
            writer.write_image('/a', pixels_of(number), START_NS + number, 'a')
    file, = (tmp_path / 'bag').glob('*.mcap')
    data = bytearray(file.read_bytes())
    # The length of the encoding of the third image.
    place = [at for at in range(len(data)) if data.startswith(b'\x05\0\0\0rgb8\0', at)
             or data.startswith(b'\x05\0\0\0bgr8\0', at)][2]
    data[place:place + 4] = b'\xff\xff\xff\x7f'
    file.write_bytes(data)
    with BagReader(file) as bag:
        divided = stretches.divide(bag, ['/a'], 2)
        read = [one for part in divided for one in stretches.read(bag, part, ['/a'])]
    assert [one.number for one in read] == [0, 1, 2, 3]
    assert [isinstance(one, stretches.UnreadableImage) for one in read] == [
        False, False, True, False]
    assert 'not a readable' in read[2].reason


def test_a_stretch_with_other_images_than_the_index_is_an_error(tmp_path):
    with BagReader(write_bag(tmp_path / 'bag', 10)) as bag:
        first, _ = stretches.divide(bag, ['/front/image'], 5)
        wrong = stretches.Stretch(
            first.start_ns, first.end_ns, first.first, {'/front/image': 6})
        with pytest.raises(BagError, match='5 images of /front/image were read where its index'):
            list(stretches.read(bag, wrong, ['/front/image']))


def test_an_index_that_is_damaged_is_an_error(tmp_path):
    from mcap.reader import make_reader
    file, = write_bag(tmp_path / 'bag', 10).glob('*.mcap')
    with file.open('r+b') as opened:
        chunk = make_reader(opened).get_summary().chunk_indexes[0]
        opened.seek(next(iter(chunk.message_index_offsets.values())) + 9)
        opened.write(b'\xff' * 6)
    with BagReader(file) as bag, pytest.raises(BagError, match=r'index at byte \d+ is damaged'):
        stretches.divide(bag, bag.image_topics(), 2)


@pytest.mark.parametrize('kind', [FFMPEG_PACKET, COMPRESSED_IMAGE])
def test_a_video_is_one_stretch(tmp_path, kind):
    packets = encode('h264', count=6)
    with BagReader(write_video_bag(tmp_path / 'bag', kind, 'h264', packets)) as bag:
        found, read = read_all(bag, 1)
    assert (found, len(read)) == (1, 6)
