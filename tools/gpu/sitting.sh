#!/usr/bin/env bash
# One call of a GPU sitting: exports what is missing, measures for a given time, leaves JSON.
# Call it again to go on. Usage: tools/gpu/sitting.sh FRAMES.npy OUT_FOLDER SECONDS [STEP...]
# PY_TRT: the Python that has TensorRT and pycuda; PY_TORCH: the one that has PyTorch.
# STATE: folder of models, engines and results, kept between the calls.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
frames=$1 out=$2 seconds=$3
shift 3
py_trt=${PY_TRT:-python3} py_torch=${PY_TORCH:-python3} state=${STATE:-/tmp/resnet_trt_gpu}
begun=$SECONDS
mkdir -p "$state" "$out"
export PYTHONPATH="$here/../.." PYTHONUNBUFFERED=1
# The first two models are waited for, the others are written while engines are built.
"$py_torch" "$here/export_models.py" "$state/models" "$frames" fp32 fp16
"$py_torch" "$here/export_models.py" "$state/models" "$frames" > "$state/export.log" 2>&1 &
export_pid=$!
trap 'kill $export_pid 2>/dev/null || true; cp "$state"/export.log "$out"/ || true' EXIT
if [ ! -e "$state/results/torch.json" ] && [ "${SKIP_TORCH:-}" = "" ]; then
  mkdir -p "$state/results"
  timeout 150 "$py_torch" "$here/bench_torch.py" --out "$state/results/torch.json" \
    --frames "$frames" > "$state/torch.log" 2>&1 || { echo 'PyTorch failed:'; tail -5 "$state/torch.log"; }
fi
"$py_trt" "$here/bench_tensorrt.py" --models "$state/models" --frames "$frames" \
  --state "$state/results" --out "$out/gpu.json" --budget-s $((seconds - (SECONDS - begun))) "$@"
tar czf "$out/logs.tgz" -C "$state/results" --exclude=engines .
