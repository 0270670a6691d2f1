"""Packages that stand in for runtimes and ROS in a process that imports them."""

from __future__ import annotations

from pathlib import Path
import sys

from repository import REPOSITORY

#: Module to its source, for a machine on which everything works.
WORKING = {
    'numpy': '__version__ = "1.26.4"',
    'cv2': '__version__ = "4.6.0"',
    'onnx': '__version__ = "1.17.0"',
    'onnxruntime': '__version__ = "1.20.0"',
    'tensorrt': '__version__ = "10.3.0"\nclass IExecutionContext:\n    execute_async_v3 = None',
    'pycuda': 'VERSION_TEXT = "2025.1"',
    'pycuda.driver':
        'def init(): pass\nclass Device:\n    @staticmethod\n    def count(): return 1',
    'rclpy': 'class InitContextManager: pass',
    'rclpy.event_handler':
        'EventHandler = SubscriptionEventCallbacks = UnsupportedEventTypeError = None',
    'rclpy.executors': 'Executor = None',
    'rclpy.node': 'class Node: pass',
    'rclpy.type_support': 'def check_for_type_support(kind): pass',
    'rclpy.utilities': 'def get_rmw_implementation_identifier(): return "rmw_fastrtps_cpp"',
    'vision_msgs': '',
    'vision_msgs.msg': 'Classification = Detection2DArray = LabelInfo = None',
}
#: How a package fails, to a source that does so.
FAILING = {
    'segfault': 'import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)',
    'exit': 'import os\nos._exit(7)',
    'core_files': 'import resource\nraise OSError(resource.getrlimit(resource.RLIMIT_CORE))',
    'sys_exit': 'import sys\nsys.exit("no licence")',
    'library': 'raise ImportError("libnvinfer.so.10: cannot open shared object file")',
    'numpy_1': 'raise ImportError("compiled using NumPy 1.x cannot be run in NumPy 2.4")',
    'other_module': 'import package_that_is_nowhere',
    'noise': 'print("\\x1b[2J a banner")\nraise OSError("\\x1b]0;title\\x07 broken")',
}


def write_packages(folder: Path, sources: dict[str, str]) -> list[str]:
    """
    Write packages.

    :param folder: made if there is none.
    :param sources: dotted name to source.
    :returns: where a process finds them, this package and Python's library, and nothing else.
    """
    for name, source in sources.items():
        place = folder.joinpath(*name.split('.'))
        place.mkdir(parents=True, exist_ok=True)
        (place / '__init__.py').write_text(source)
    if 'rclpy' in sources:
        about = folder / 'rclpy-7.1.6.dist-info'
        about.mkdir(exist_ok=True)
        (about / 'METADATA').write_text('Metadata-Version: 2.1\nName: rclpy\nVersion: 7.1.6\n')
    library = [path for path in sys.path if path.startswith(sys.base_prefix) and not path.endswith(
        ('site-packages', 'dist-packages'))]
    return [str(folder), *library, str(REPOSITORY)]
