"""A kernel of this package: compiled for the GPU at hand by NVRTC, kept, and launched."""

from __future__ import annotations

from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any, Callable, Optional, Sequence, Tuple

from resnet_trt_node.backends.cuda.device import CudaDevice
from resnet_trt_node.backends.cuda.stream import CudaStream
from resnet_trt_node.backends.engines.cache import default_engine_dir
from resnet_trt_node.backends.engines.files import (
    prepare_folder, read_trusted, sha256_of, UntrustedFile, write_atomically)
from resnet_trt_node.errors import BackendError, BackendUnavailable

#: Products are rounded before they are added, as on a CPU: the results are the same bits.
_OPTIONS = ('--fmad=false', '--std=c++17')
_MAX_BINARY_BYTES = 1 << 24
_INSTALL = ('pip install cuda-bindings nvidia-cuda-nvrtc; with CUDA 12 it is "cuda-bindings<13" '
            'nvidia-cuda-nvrtc-cu12')


def load_nvrtc() -> Any:
    """
    Import NVIDIA's run-time compiler.

    :returns: the module of cuda-bindings.
    :raises BackendUnavailable: if it, or the library that it loads, is missing.
    """
    try:
        from cuda.bindings import nvrtc
    except ImportError as error:
        raise BackendUnavailable(
            f'cuda-bindings cannot be imported ({error}): {_INSTALL}') from error
    return nvrtc


class Kernel:
    """
    A compiled kernel of one source file, for the thread that owns a device.

    Compiling takes a moment, so the binary is kept beside the engines and is trusted like them.

    :param device: where it will run.
    :param file_name: of the source, beside this module.
    :param name: the kernel's, declared `extern "C"`.
    :param arguments: their types as `struct` names them, 'P' for an address.
    :param engine_dir: folder of compiled engines; None is the default one.
    :param log: takes a line if the binary cannot be kept.
    :raises BackendUnavailable: if there is no binary and NVRTC is missing.
    :raises BackendError: if the source cannot be compiled, or the driver refuses the binary.
    """

    def __init__(
            self, device: CudaDevice, file_name: str, name: str, arguments: str,
            engine_dir: Optional[Path], log: Callable[[str], None]) -> None:
        source = resources.files(__package__).joinpath(file_name).read_bytes()
        target = f'sm_{device.compute_capability.replace(".", "")}'
        options = (f'--gpu-architecture={target}', *_OPTIONS)
        digest = sha256_of(b'\0'.join([source, *(option.encode() for option in options)]))
        path = (engine_dir or default_engine_dir()) / 'kernels' / (
            f'{Path(file_name).stem}-{target}-{digest[:20]}.cubin')
        kept = _read(path, log)
        self._function: Any = None
        if kept:
            # A binary that another version of the driver refuses is compiled anew.
            with suppress(BackendError):
                self._function = device.function(kept, name, arguments)
        if self._function is None:
            nvrtc = load_nvrtc()
            binary = compile_source(nvrtc, source, file_name, options)
            try:
                self._function = device.function(binary, name, arguments)
            except BackendError as error:
                _, major, minor = nvrtc.nvrtcVersion()
                raise BackendError(
                    f'{error}; NVRTC {major}.{minor} compiled it, the driver is of CUDA '
                    f'{device.driver_cuda}: {_INSTALL}') from error
            _keep(path, binary, log)

    def launch(
            self, grid: Tuple[int, int, int], block: Tuple[int, int, int], stream: CudaStream,
            *arguments: int) -> None:
        """
        Enqueue it.

        :param grid: blocks along x, y and z.
        :param block: threads of a block, likewise.
        :param stream: of the same thread.
        :param arguments: as many as were declared.
        :raises InferenceError: if the driver refuses.
        """
        stream.launch(self._function, grid, block, *arguments)


def compile_source(
        nvrtc: Any, source: bytes, file_name: str, options: Sequence[str]) -> bytes:
    """
    Compile CUDA C++ to a binary.

    :param nvrtc: the module of cuda-bindings.
    :param source: the text, which includes nothing.
    :param file_name: what messages call it.
    :param options: of the compiler.
    :raises BackendUnavailable: if there is no library behind the module.
    :raises BackendError: with the compiler's words.
    """
    def call(name: str, *arguments: Any) -> Any:
        try:
            error, *results = getattr(nvrtc, name)(*arguments)
        except RuntimeError as missing:
            raise BackendUnavailable(
                f'there is no NVRTC ({missing}): {_INSTALL}') from missing
        if error:
            raise BackendError(f'{name}: {error.name}')
        return results[0] if results else None

    program = call('nvrtcCreateProgram', source, file_name.encode(), 0, [], [])
    try:
        encoded = [option.encode() for option in options]
        try:
            call('nvrtcCompileProgram', program, len(encoded), encoded)
        except BackendError as error:
            # Written into; of a single byte there would be one object for the whole process.
            words = b' ' * max(2, call('nvrtcGetProgramLogSize', program))
            call('nvrtcGetProgramLog', program, words)
            text = words.rstrip(b'\0 \n').decode(errors='replace')
            raise BackendError(f'{file_name} cannot be compiled: {error}; {text}') from error
        binary: bytes = b' ' * call('nvrtcGetCUBINSize', program)
        call('nvrtcGetCUBIN', program, binary)
        return binary
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _read(path: Path, log: Callable[[str], None]) -> bytes:
    """Return the kept binary, b'' where there is none that can be trusted."""
    try:
        return read_trusted(path, None, _MAX_BINARY_BYTES)
    except FileNotFoundError:
        return b''
    except (OSError, UntrustedFile) as error:
        log(f'compiling {path.stem} again: {error}')
        return b''


def _keep(path: Path, binary: bytes, log: Callable[[str], None]) -> None:
    try:
        prepare_folder(path.parent)
        write_atomically(path, binary)
    except (OSError, UntrustedFile) as error:
        log(f'{path.name} is not kept and will be compiled again: {error}')
