"""From a deployable ONNX file to a shared library with its code and weights."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
import shutil
import tempfile
from typing import Any, Callable, Iterator, TYPE_CHECKING

from resnet_trt_node.backends.engines.cache import BuiltEngine
from resnet_trt_node.backends.engines.files import sha256_of
from resnet_trt_node.backends.tvm.database import TuningDatabase
from resnet_trt_node.backends.tvm.gpu import (
    batch_sizes, build_gpu, gpu_module, schedule_gpu)
from resnet_trt_node.backends.tvm.graph import import_graph
from resnet_trt_node.backends.tvm.layers import layer_rules
from resnet_trt_node.backends.tvm.runtime import Processor
from resnet_trt_node.backends.tvm.schedule import schedule_module
from resnet_trt_node.backends.tvm.workload import Tile, Workload
from resnet_trt_node.contract.model_file import load_model, parse_model, read_model, spec_in
from resnet_trt_node.errors import BackendError, BackendUnavailable, ModelError

if TYPE_CHECKING:
    import onnx
    from resnet_trt_node.contract.spec import ModelSpec


def compile_model(
        tvm: Any, path: Path, model_sha256: str, processor: Processor,
        database: TuningDatabase, max_batch_size: int) -> BuiltEngine:
    """
    Compile a model for every batch size up to the largest.

    :param tvm: the package.
    :param path: the deployable ONNX file.
    :param model_sha256: what the file's digest must be.
    :param processor: the CPU to compile for.
    :param database: gives the tile of each layer.
    :param max_batch_size: the memory between layers is allocated for so many frames.
    :returns: the shared library and the contract.
    :raises ModelError: if the model is not deployable or TVM does not know its operators.
    :raises BackendUnavailable: if there is no compiler to link with.
    :raises BackendError: if TVM fails.
    """
    _, model, spec = _load(path, model_sha256)
    target = processor.target(tvm)
    with _explained(tvm, path), target, tvm.transform.PassContext(opt_level=3):
        module = fused_module(tvm, model, database.tile, str(path))
        module = bound_batch(tvm, module, max_batch_size)
        module = schedule_module(tvm, module, database.tile, database.registers)
        return BuiltEngine(_export(_build(tvm, module, target)), spec)


def compile_for_gpu(
        tvm: Any, path: Path, model_sha256: str, target: Any,
        max_batch_size: int) -> BuiltEngine:
    """
    Compile a model for a GPU; parameters, result and errors as `compile_model`.

    :param target: from `tvm_gpu.cuda_target`.
    """
    data, _, spec = _load(path, model_sha256)
    with _explained(tvm, path):
        with target, tvm.transform.PassContext(opt_level=3):
            module = gpu_module(
                tvm, lambda: parse_model(data, path), batch_sizes(max_batch_size), True, str(path))
            module = schedule_gpu(tvm, module)
        return BuiltEngine(_export(build_gpu(tvm, module, target)), spec)


def _load(path: Path, model_sha256: str) -> tuple[bytes, onnx.ModelProto, ModelSpec]:
    _check_linker()
    data = read_model(path)
    if sha256_of(data) != model_sha256:
        raise ModelError(f'{path} changed while it was read: try again')
    model = parse_model(data, path)
    return data, model, spec_in(model, path)


@contextmanager
def _explained(tvm: Any, path: Path) -> Iterator[None]:
    """Turn what TVM raises into an error that says what to do."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError, OSError) as error:
        raise BackendError(
            f'TVM {tvm.__version__} cannot compile {path} ({_last_line(error)}): use another '
            'backend, such as onnxruntime') from error


def model_workloads(tvm: Any, path: Path, processor: Processor) -> dict[Workload, int]:
    """
    Return the layers of a model that can be tuned, and how often each occurs.

    :raises ModelError: as `compile_model`.
    """
    model = load_model(path)
    spec_in(model, path)
    found: dict[Workload, int] = {}

    def note(workload: Workload) -> Tile:
        found[workload] = found.get(workload, 0) + 1
        return Tile(1, 1, 1)

    with processor.target(tvm), tvm.transform.PassContext(opt_level=3):
        module = import_graph(tvm, model, False, str(path))
        tvm.relax.transform.LegalizeOps(layer_rules(tvm, note))(module)
    return found


def fused_module(
        tvm: Any, model: Any, choose: Callable[[Workload], Tile], where: str) -> Any:
    """Return a model as Relax calls of fused loops that are not scheduled yet."""
    transform = tvm.relax.transform
    module = import_graph(tvm, model, False, where)
    return tvm.transform.Sequential([
        transform.LegalizeOps(layer_rules(tvm, choose)),
        transform.AnnotateTIROpPattern(),
        transform.FuseOps(),
        transform.FuseTIR(),
        transform.DeadCodeElimination(),
    ])(module)


def bound_batch(tvm: Any, module: Any, max_batch_size: int) -> Any:
    """
    Say how large the batch can get.

    Without it, memory between layers would be allocated for each batch size anew and kept.
    """
    function = module['main']
    batch = function.params[0].ty.shape.values[0]
    module = module.clone()
    module['main'] = function.with_attr('tir_var_upper_bound', {batch.name: max_batch_size})
    return module


def _build(tvm: Any, module: Any, target: Any) -> Any:
    from tvm.relax.backend.cpu_generic import pipeline
    module = tvm.transform.Sequential([
        *pipeline.dataflow_lower_passes(target), *pipeline.finalize_passes(target)])(module)
    return tvm.relax.build(module, target=target, relax_pipeline=None)


def _export(executable: Any) -> bytes:
    """Link a shared library and return what is in it."""
    with tempfile.TemporaryDirectory(prefix='resnet-trt-tvm-') as folder:
        library = Path(folder) / 'model.so'
        executable.export_library(str(library), workspace_dir=folder)
        return library.read_bytes()


def _check_linker() -> None:
    if not any(shutil.which(name) for name in ('g++', 'gcc', 'clang++', 'clang', 'c++', 'cc')):
        raise BackendUnavailable(
            'TVM needs a C++ compiler to link what it compiled, and there is none: '
            'apt install g++, or build the engine on another machine of this kind')


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else repr(error)
