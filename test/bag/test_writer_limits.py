"""Times and paths that a bag, or ROS, can hold just so or not at all."""

from __future__ import annotations

from bags.image_bags import BagWriter
from bags.sample_bags import JPEG, pixels_of
import pytest
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.errors import UsageError

STORAGES = ('mcap', 'sqlite3')


@pytest.mark.parametrize(('storage', 'kept_ns'), [('mcap', 0), ('sqlite3', -1_500_000_000)])
def test_a_stamp_before_1970_is_written(tmp_path, storage, kept_ns):
    stamp_ns = -1_500_000_000
    with BagWriter(tmp_path / 'bag', storage) as writer:
        writer.write_image('/image', pixels_of(0), stamp_ns, 'cam')
        writer.write_compressed('/compressed', JPEG, 'jpeg', stamp_ns, 'cam')
        writer.write_classification('/labels', stamp_ns, 'cam', [])
        assert writer.moved == (3 if storage == 'mcap' else 0)
    with BagReader(tmp_path / 'bag') as bag:
        found = list(bag.images())
        assert (bag.start_ns, bag.duration_ns) == (kept_ns, 0)
    assert [(one.stamp_ns, one.log_time_ns) for one in found] == [(stamp_ns, kept_ns)] * 2


@pytest.mark.parametrize('storage', STORAGES)
def test_log_times_that_no_storage_holds(tmp_path, storage):
    with BagWriter(tmp_path / 'bag', storage) as writer:
        for log_time_ns in (2**63, -2**70, 2**63 - 1):
            writer.write_image('/image', pixels_of(0), 1, 'cam', log_time_ns=log_time_ns)
        assert writer.moved == 2
    with BagReader(tmp_path / 'bag') as bag:
        assert [one.log_time_ns for one in bag.images()] == [
            0 if storage == 'mcap' else -2**63, 2**63 - 1, 2**63 - 1]


@pytest.mark.parametrize('stamp_ns', [2**31 * 10**9, -2**31 * 10**9 - 1, 2**63])
def test_a_stamp_that_is_none_of_ros_is_refused(tmp_path, stamp_ns):
    with pytest.raises(UsageError, match=str(stamp_ns)), \
            BagWriter(tmp_path / 'bag') as writer:
        writer.write_image('/image', pixels_of(0), stamp_ns, 'cam')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('name', ['run#3', 'why?', '100%41', 'ä b'])
def test_odd_letters_in_the_path(tmp_path, name):
    with BagWriter(tmp_path / name / 'mcap') as writer:
        writer.write_image('/image', pixels_of(0), 1, 'cam')
    with BagReader(tmp_path / name / 'mcap') as bag:
        assert bag.image_count() == 1
    before = sorted(tmp_path.rglob('*'))
    if name != 'ä b':
        with pytest.raises(UsageError, match='mcap'):
            BagWriter(tmp_path / name / 'database', 'sqlite3')
        assert sorted(tmp_path.rglob('*')) == before
