"""Running `resnet_trt fleet` inside the test's process, on a Ray that is started once."""

from __future__ import annotations

from collections.abc import Iterator
import logging
import os
from pathlib import Path
import shutil
import sys
from tempfile import mkdtemp

from commands.command_line import Command
from models.tiny_model import write_tiny_model
import pytest

#: Which S3 the workers reach, but for its address.
STORE = {'AWS_ACCESS_KEY_ID': 'testing', 'AWS_SECRET_ACCESS_KEY': 'testing',
         'AWS_DEFAULT_REGION': 'us-east-1'}


@pytest.fixture
def resnet_trt(capsys: pytest.CaptureFixture[str]) -> Command:
    """Return the command line."""
    return Command(capsys)


@pytest.fixture(scope='session')
def colour_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a deployable model that names a picture's mean colour."""
    return write_tiny_model(tmp_path_factory.mktemp('models') / 'colours.onnx')


@pytest.fixture(scope='session')
def one_ray(tmp_path_factory: pytest.TempPathFactory, s3: str) -> Iterator[None]:
    """Keep one Ray for all tests of this process: one core, little memory, no dashboard."""
    folder = mkdtemp(prefix='fleet.')
    with pytest.MonkeyPatch.context() as patch:
        # On a busy machine its processes take long to start; Ray reads this when it is imported.
        patch.setenv('RAY_raylet_start_wait_time_s', '600')
        ray = pytest.importorskip('ray', reason='Ray is missing: pip install .[fleet]')
        # The workers need the helpers too.
        patch.setenv('PYTHONPATH', os.pathsep.join(filter(None, sys.path)))
        patch.setenv('TMPDIR', str(tmp_path_factory.mktemp('copies')))
        for name, value in {**STORE, 'FSSPEC_S3_ENDPOINT_URL': s3}.items():
            patch.setenv(name, value)
        patch.setenv('RAY_USAGE_STATS_ENABLED', '0')
        patch.setenv('RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO', '0')
        ray.init(
            'local', num_cpus=1, num_gpus=0, object_store_memory=100 * 2**20,
            include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
            # Idle processes stay, since starting one takes seconds.
            _system_config={'idle_worker_killing_time_threshold_ms': 600_000},
            _temp_dir=folder)
        yield
        ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope='session')
def s3() -> Iterator[str]:
    """Serve S3 on a port that nobody else can take before; gives the address, '' without moto."""
    try:
        from moto.server import ThreadedMotoServer
    except ImportError:
        yield ''
        return
    server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f'http://{host}:{port}'
    server.stop()


@pytest.fixture
def store(one_ray: None, s3: str) -> str:
    """Return the address of a bucket."""
    fsspec = pytest.importorskip('fsspec')
    # It reads the environment when it is imported, which another test may have done.
    fsspec.config.set_conf_env(fsspec.config.conf)
    pytest.importorskip('s3fs', reason='s3fs is missing: it reads S3')
    if not s3:
        pytest.skip('moto is missing: it serves S3')
    fsspec.filesystem('s3').makedirs('fleet', exist_ok=True)
    return 's3://fleet'
