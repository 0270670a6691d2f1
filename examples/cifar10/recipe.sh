#!/usr/bin/env bash
# From pictures to engines: fine-tunes a teacher, trains a ResNet-50 on class folders and on the
# teacher's answers, makes it fp16, int8 and 2:4 sparse, and measures test accuracy and engine
# latency of each. What exists is not made again. Usage:
# examples/cifar10/recipe.sh DATA.zip WORK_FOLDER [teacher|train|prune|models|accuracy|latency]...
#
# PY: a Python with PyTorch, onnx, onnxruntime and the packages that teacher.py names, unless
# TEACHER=no; PY_TRT: one with the backend's runtime.
# PROCESSES: how many GPUs train together. BACKEND: what accuracy and latency are measured on. The
# other variables make it smaller.
set -euo pipefail
if [ $# -lt 2 ]; then
  sed -n 's/^# \(examples.*\)/usage: \1/p' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
data=$1 work=$2
shift 2
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PYTHONPATH=$repository${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
py=${PY:-python3} py_trt=${PY_TRT:-${PY:-python3}} backend=${BACKEND:-tensorrt}
remote=$backend${PY_TRT:+@$PY_TRT}
level=${LEVEL:-2} batch=${BATCH:-64}
# Options of engines; a backend that builds none refuses them.
engines=()
case $backend in
  tensorrt*) engines=(--optimization-level "$level" --engine-dir "$work/engines" --sparse-weights) ;;
esac
mkdir -p "$work"

tool() { "$py" -m resnet_trt_node.cli.main "$@"; }
# Trains by one process, or by several, one a GPU.
trainer() {
  if [ "${PROCESSES:-1}" = 1 ]; then "$py" "$@"; else
    "$py" -m torch.distributed.run --standalone --nproc-per-node "$PROCESSES" "$@"
  fi
}
# Seconds of each step, for the page; what the step prints may go into a file.
timed() {
  local name=$1 begun=$SECONDS outcome=0
  shift
  "$@" || outcome=$?
  echo "$name $((SECONDS - begun))" | tee -a "$work/seconds.txt" >&2
  return "$outcome"
}

teacher() {
  [ "${TEACHER:-yes}" = no ] || [ -e "$work/teacher.pth" ] || timed teacher trainer \
    "$repository/examples/cifar10/teacher.py" "$data" "$work/teacher.pth" \
    --image-size "${SIZE:-160}" --batch-size "${TRAIN_BATCH:-256}" ${TEACHER_OPTIONS:-}
}

# Runs a command with the teacher, if there is one.
taught() {
  if [ -e "$work/teacher.pth" ]; then "$@" --teacher "$work/teacher.pth"; else "$@"; fi
}

train() {
  # Metrics have a summary once the training has ended; what was interrupted goes on.
  local resume=
  [ ! -e "$work/train/last.pth" ] || resume=--resume
  grep -qs '"summary"' "$work/train/metrics.json" || timed train taught trainer \
    -m resnet_trt_node.cli.main train --images "$data" \
    --arch "${ARCH:-resnet50}" --weights random --image-size "${SIZE:-160}" \
    --epochs "${EPOCHS:-200}" --batch-size "${TRAIN_BATCH:-256}" --lr "${LR:-0.2}" \
    --weight-decay 5e-4 --label-smoothing 0.1 --min-scale 0.5 --auto-augment trivial \
    --mix cutmix --ema "${EMA:-0.998}" --save-every 10 -o "$work/train" $resume \
    ${TRAIN_OPTIONS:-}
}

prune() {
  [ -e "$work/sparse.pth" ] || timed prune taught trainer -m resnet_trt_node.cli.main \
    prune "$work/train/best.pth" --finetune "$data" --epochs "${TUNE_EPOCHS:-40}" \
    --batch-size "${TRAIN_BATCH:-256}" --lr "${TUNE_LR:-0.05}" -o "$work/sparse.pth" ${TUNE_OPTIONS:-}
}

models() {
  local arch=${ARCH:-resnet50} form
  for form in fp32 fp16; do
    [ -e "$work/$form.onnx" ] || tool export --arch "$arch" --weights "$work/train/best.pth" \
      --precision "$form" -o "$work/$form.onnx"
    [ -e "$work/sparse_$form.onnx" ] || tool export --arch "$arch" --weights "$work/sparse.pth" \
      --precision "$form" -o "$work/sparse_$form.onnx"
  done
  for form in '' sparse_; do
    [ -e "$work/${form}int8.onnx" ] || timed "${form}quantize" tool quantize \
      "$work/${form}fp32.onnx" --images "$data/train" --limit "${PICTURES:-640}" \
      --method "${METHOD:-percentile}" -o "$work/${form}int8.onnx"
  done
}

# The same builder options as in `latency`, so that each engine is built once. --sparse-weights
# changes nothing for the others: their weights are not 2:4.
accuracy() {
  local form
  for form in fp16 int8 sparse_fp16 sparse_int8; do
    [ -s "$work/$form.json" ] || {
      timed "evaluate $form" "$py_trt" -m resnet_trt_node.cli.main evaluate "$work/fp32.onnx" \
        --compare "$work/$form.onnx" --images "$data/test" --backend "$backend" \
        --batch-size "$batch" "${engines[@]}" ${engines:+--opt-batch-size "1,$batch"} \
        --json > "$work/$form.part"
      mv "$work/$form.part" "$work/$form.json"
    }
  done
}

# The tolerance is wide since 2:4 is another network after its fine-tuning, not fp32 rounded. Where
# answers differ more, the comparison exits with 1: kept, and told.
latency() {
  local outcome=0
  [ -s "$work/latency/compare.json" ] || timed latency tool compare "$work/fp32.onnx" \
    "$work/fp16.onnx" "$work/int8.onnx" "$work/sparse_fp16.onnx" "$work/sparse_int8.onnx" \
    --backends "$remote" --batch-size "1,$batch" --images "$data/test" --limit 256 \
    --seconds "${SECONDS_A_ROW:-3}" "${engines[@]}" \
    --atol 0.5 --min-agreement 0.95 -o "$work/latency" || outcome=$?
  [ "$outcome" -le 1 ] || exit "$outcome"
}

[ $# -gt 0 ] || set -- teacher train prune models accuracy latency
for step in "$@"; do
  case $step in
    teacher | train | prune | models | accuracy | latency) "$step" ;;
    *) echo "unknown step $step" >&2; exit 2 ;;
  esac
done
