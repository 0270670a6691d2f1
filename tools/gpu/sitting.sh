#!/usr/bin/env bash
# One call of a GPU sitting: exports what is missing, measures for a given time, leaves JSON.
# Call it again to go on. Usage: tools/gpu/sitting.sh FRAMES.npy OUT_FOLDER SECONDS [STEP...]
# PY_TRT: the Python that has TensorRT and pycuda; PY_TORCH: the one that has PyTorch.
# STATE: folder of models, engines and results, kept between the calls.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
frames=$(realpath "$1") out=$(realpath -m "$2") seconds=$3
shift 3
py_trt=${PY_TRT:-python3} py_torch=${PY_TORCH:-python3} state=${STATE:-/tmp/resnet_trt_gpu}
begun=$SECONDS
mkdir -p "$state" "$out"
export PYTHONUNBUFFERED=1
cd "$here/../.."
# Nothing else runs while something is timed.
"$py_torch" -m tools.gpu.export_models "$state/models" "$frames"
if [ ! -e "$state/results/torch.json" ] && [ "${SKIP_TORCH:-}" = "" ]; then
  mkdir -p "$state/results"
  timeout 200 "$py_torch" -m tools.gpu.bench_torch --out "$state/results/torch.json" \
    --frames "$frames" > "$state/torch.log" 2>&1 \
    || { echo 'PyTorch failed:'; tail -5 "$state/torch.log"; }
fi
"$py_trt" -m tools.gpu.bench_tensorrt --models "$state/models" --frames "$frames" \
  --state "$state/results" --out "$out/gpu.json" --budget-s $((seconds - (SECONDS - begun))) "$@"
tar czf "$out/logs.tgz" -C "$state/results" --exclude=engines .
