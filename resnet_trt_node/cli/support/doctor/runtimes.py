"""The packages and runtimes that infer, and which backend `auto` would choose."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from resnet_trt_node.backends.factory import AUTO_ORDER
from resnet_trt_node.cli.support.doctor.finding import BROKEN, Finding, MISSING, OK
from resnet_trt_node.cli.support.doctor.machine import Machine
from resnet_trt_node.cli.support.doctor.probes import import_of, Outcome, Probe

_TENSORRT = 'from resnet_trt_node.backends.tensorrt.versions import load_module\n' \
    'found = load_module({0!r}).__version__'

#: Subject to how it is tried out.
PROBES: dict[str, Probe] = {
    'numpy': import_of('numpy'),
    'opencv': import_of('cv2'),
    'onnx': import_of('onnx'),
    'onnxruntime': import_of('onnxruntime'),
    **{name: Probe(_TENSORRT.format(name), (name,))
       for name in ('tensorrt', 'tensorrt_rtx', 'tensorrt_lean')},
    # As the backend opens it; the driver's library is loaded by the import.
    'pycuda': Probe(
        'from resnet_trt_node.backends.cuda.device import load_driver\n'
        'driver = load_driver()\n'
        'driver.init()\n'
        'import pycuda\n'
        'found = f"{pycuda.VERSION_TEXT}, {driver.Device.count()} GPU"', ('pycuda',)),
    'cuda-bindings': Probe(
        'import cuda.bindings.driver\n'
        'found = version("cuda-bindings")', ('cuda', 'cuda.bindings', 'cuda.bindings.driver')),
    'nvrtc': Probe(
        'from cuda.bindings import nvrtc\n'
        '_, major, minor = nvrtc.nvrtcVersion()\n'
        'found = f"{major}.{minor}"', ('cuda', 'cuda.bindings', 'cuda.bindings.nvrtc')),
    'nvimgcodec': import_of('nvidia.nvimgcodec'),
}
_PURPOSES = {
    'numpy': 'pixels and probabilities',
    'opencv': 'decodes and resizes images',
    'onnx': 'reads models: for TensorRT and the offline tools',
    'onnxruntime': 'infers on the CPU',
    'tensorrt': 'builds and runs engines on NVIDIA GPUs',
    'tensorrt_rtx': 'the same for GeForce and RTX GPUs',
    'tensorrt_lean': 'runs version-compatible engines that were built elsewhere',
    'pycuda': 'memory and streams of the GPU, for every TensorRT',
    'cuda-bindings': 'CUDA graphs, which make small batches faster, and resizing on the GPU',
    'nvrtc': 'converts and resizes frames on the GPU',
    'nvimgcodec': 'decodes JPEG on the GPU',
}
#: What is of no use without an NVIDIA GPU.
_OF_GPUS = (
    'tensorrt', 'tensorrt_rtx', 'tensorrt_lean', 'pycuda', 'cuda-bindings', 'nvrtc', 'nvimgcodec')
#: Of the TensorRTs one is enough, and the last is for cameras that send jpegs.
_OPTIONAL = {'tensorrt_rtx': 'tensorrt', 'tensorrt_lean': 'tensorrt', 'nvimgcodec': ''}
#: Subject to the command that installs it here.
_REMEDIES: dict[str, Callable[[Machine], str]] = {
    'numpy': lambda machine: machine.pip('numpy'),
    'opencv': lambda machine: 'sudo apt install python3-opencv' if machine.system_ros else
    machine.pip('opencv-python-headless<5'),
    'onnx': lambda machine: machine.pip('onnx'),
    'onnxruntime': lambda machine: machine.pip('onnxruntime'),
    'tensorrt': lambda machine: 'sudo apt install python3-libnvinfer' if machine.tegra else
    machine.pip(f'tensorrt-{machine.cuda}'),
    'tensorrt_rtx': lambda machine: machine.pip(f'tensorrt-rtx-{machine.cuda}'),
    'tensorrt_lean': lambda machine: machine.pip(f'tensorrt-lean-{machine.cuda}'),
    'pycuda': lambda machine: (
        f'PATH=/usr/local/cuda/bin:$PATH {machine.pip("pycuda")}' if machine.tegra else
        'sudo apt install g++ python3-dev nvidia-cuda-toolkit && ' + machine.pip('pycuda')),
    'cuda-bindings': lambda machine: machine.pip(
        'cuda-bindings' + '<13' * (machine.cuda == 'cu12')),
    'nvrtc': lambda machine: machine.pip(
        'nvidia-cuda-nvrtc' + '-cu12' * (machine.cuda == 'cu12')),
    'nvimgcodec': lambda machine: machine.pip(
        f'nvidia-nvimgcodec-tegra-{machine.cuda}' if machine.tegra else
        f'nvidia-nvimgcodec-{machine.cuda}[nvjpeg]'),
}


def gpu_finding(machine: Machine) -> Finding:
    """Return what is known of the GPU and its driver."""
    subject, purpose = 'gpu', 'runs TensorRT'
    if machine.gpu_error:
        return Finding(
            subject, BROKEN, machine.gpu_error, purpose,
            'docker run --gpus all ...   # on the host' if machine.container else 'sudo reboot')
    if machine.gpus or machine.tegra:
        return Finding(subject, OK, '; '.join([*machine.gpus, machine.tegra][:8]).rstrip('; '),
                       purpose)
    return Finding(
        subject, MISSING, 'no NVIDIA GPU, or no driver for it', purpose,
        'docker run --gpus all ...   # on the host, if that has one' if machine.container else
        'sudo ubuntu-drivers install   # if there is one')


def runtime_findings(machine: Machine, outcomes: Mapping[str, Outcome]) -> list[Finding]:
    """
    Return what is known of each runtime and of what it needs.

    :param outcomes: of `PROBES`.
    """
    findings = []
    for name, purpose in _PURPOSES.items():
        outcome = outcomes[name]
        needed = machine.has_gpu if name in _OF_GPUS else True
        if outcome.state == MISSING and name in _OPTIONAL:
            instead = outcomes.get(_OPTIONAL[name])
            needed = needed and instead is not None and instead.state != OK
        findings.append(Finding(
            name, outcome.state, outcome.found, purpose,
            '' if outcome.state == OK else _remedy(name, machine, outcome)).unless_needed(needed))
    return findings


def _remedy(name: str, machine: Machine, outcome: Outcome) -> str:
    # What numpy says of extensions that were built for its other major version.
    if outcome.state == BROKEN and 'NumPy' in outcome.found and name != 'numpy':
        return machine.pip('numpy<2')
    if outcome.state == BROKEN and 'NVIDIA driver' in outcome.found:
        return gpu_finding(machine).remedy or 'sudo reboot'
    remedy = _REMEDIES[name](machine)
    # pip leaves alone what is there, however broken.
    return remedy.replace('pip install', 'pip install --force-reinstall') \
        if outcome.state == BROKEN else remedy


def choose_backend(findings: Mapping[str, Finding]) -> tuple[str, list[str]]:
    """
    Return which backend `auto` would choose, as far as that is known without a model.

    :param findings: by subject.
    :returns: its name, '' if none can run; and why the better ones cannot.
    """
    refusals: list[str] = []
    for name in AUTO_ORDER:
        reason = _refusal(name, findings)
        if not reason:
            return name, refusals
        refusals.append(f'{name}: {reason}')
    return '', refusals


def backend_finding(machine: Machine, findings: Mapping[str, Finding]) -> Finding:
    """
    Return what is known of the backend that `auto` would choose.

    :param findings: by subject.
    """
    name, refusals = choose_backend(findings)
    why = '; '.join(refusals)
    purpose = 'what backend: auto chooses'
    if name:
        return Finding('backend', OK, f'{name}, since {why}' if why else name, purpose)
    return Finding('backend', MISSING, f'none, since {why}', purpose,
                   _REMEDIES['onnxruntime'](machine))


def _refusal(name: str, findings: Mapping[str, Finding]) -> str:
    """Return why a backend cannot run, '' if it can."""
    needed = [name, 'numpy'] if name == 'onnxruntime' else [name, 'numpy', 'pycuda', 'onnx', 'gpu']
    for subject in needed:
        finding = findings[subject]
        if not finding.works:
            state = 'not installed' if finding.found == 'not installed' else 'not working'
            return state if subject == name else f'{subject} is {state}'
    # Its engines carry code of their own.
    return 'it needs engine_host_code: true' if name == 'tensorrt_lean' else ''
