"""TVM on this machine's CPU: one function for every batch size, scheduled by `schedule`."""

from __future__ import annotations

from typing import Any, Dict, TYPE_CHECKING

from resnet_trt_node.backends.tvm.graph import fuse, import_graph
from resnet_trt_node.backends.tvm.layers import layer_rules
from resnet_trt_node.backends.tvm.runtime import (
    build, export_library, load_library, physical_cores, use_threads)
from resnet_trt_node.backends.tvm.schedule import schedule_module
from resnet_trt_node.backends.tvm.tiles import Registers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    import onnx

    from resnet_trt_node.backends.tvm.runtime import Run
    from resnet_trt_node.contract.spec import ModelSpec


class Cpu:
    """
    The CPU of this machine: what modules are compiled for, and what runs them.

    :param tvm: the package.
    :param threads: how many compute; 0 for one a core.
    """

    def __init__(self, tvm: Any, threads: int) -> None:
        from tvm_ffi import get_global_func
        llvm = 'tvm.codegen.llvm.'
        features = get_global_func(f'{llvm}GetHostCPUFeatures')()
        self._tvm = tvm
        self._threads = threads or physical_cores()
        self._features = sorted(f'+{name}' for name, has in features.items() if has)
        self._triple = str(get_global_func(f'{llvm}GetDefaultTargetTriple')())
        #: What an engine's key and the backend's description say.
        self.name = str(get_global_func(f'{llvm}GetHostCPUName')())
        self.architecture = ' '.join(self._features)
        self.settings: Dict[str, str] = {}
        self.device = 'CPU'

    @property
    def details(self) -> Dict[str, str]:
        """Return what else is worth showing."""
        return {'target': f'{self.name}, {self.registers.lanes} lanes',
                'threads': str(self._threads)}

    @property
    def registers(self) -> Registers:
        """Return the vector registers."""
        if '+avx512vl' in self._features:
            return Registers(16, 32)
        # Of the 16 of AVX2 and SSE, one holds the pixel that is multiplied; AVX-512 and NEON
        # multiply by one number of a vector or of memory.
        if '+avx2' in self._features:
            return Registers(8, 15)
        return Registers(4, 32 if 'aarch64' in self._triple else 15)

    @property
    def target(self) -> Any:
        """Return it as a tvm.target.Target."""
        return self._tvm.target.Target({
            'kind': 'llvm', 'mtriple': self._triple, 'mcpu': self.name, 'mattr': self._features})

    def compile_library(self, model: onnx.ModelProto, max_batch_size: int) -> bytes:
        """
        Compile a model.

        :param model: a deployable model; changed.
        :param max_batch_size: the memory between layers is allocated for so many frames.
        :returns: a shared library.
        :raises ModelError: for an operator that TVM does not know.
        """
        tvm, target = self._tvm, self.target
        with target, tvm.transform.PassContext(opt_level=3):
            module = fuse(
                tvm, import_graph(tvm, model, half=False),
                layer_rules(tvm, self.registers)).clone()
            main = module['main']
            # Without a bound, memory would be allocated for each batch size anew and kept.
            batch = main.params[0].ty.shape.values[0]
            module['main'] = main.with_attr('tir_var_upper_bound', {batch.name: max_batch_size})
            module = schedule_module(tvm, module, self.registers)
            return export_library(build(tvm, module, target))

    def load(self, library: bytes, spec: ModelSpec, max_batch_size: int) -> Run:
        """
        Load what `compile` returned.

        :returns: infers uint8 (N, H, W, 3) frames; its result is the caller's own.
        :raises BackendError: if it cannot be loaded.
        """
        tvm, threads = self._tvm, self._threads
        function = tvm.relax.VirtualMachine(load_library(library), tvm.cpu())['main']

        def run(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
            use_threads(threads)
            result: NDArray[np.float32] = function(tvm.runtime.from_dlpack(frames)).numpy()
            return result
        return run
