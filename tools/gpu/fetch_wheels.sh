#!/usr/bin/env bash
# Fetches the Python 3.9 packages that the GPU scripts need beside TensorRT 8.6, numpy and pycuda,
# for a GPU machine without network. Usage: tools/gpu/fetch_wheels.sh [FOLDER], default .gpu/whl.
set -euo pipefail
folder=${1:-.gpu/whl}
mkdir -p "$folder"
platforms=(manylinux_2_28_x86_64 manylinux_2_27_x86_64 manylinux_2_24_x86_64
  manylinux_2_17_x86_64 manylinux2014_x86_64 manylinux_2_12_x86_64 manylinux1_x86_64)
python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.9 \
  --implementation cp "${platforms[@]/#/--platform=}" --dest "$folder" \
  onnx==1.19.1 protobuf==6.33.6 ml_dtypes==0.5.4 typing_extensions \
  cuda-bindings==13.0.3 cuda-pathfinder==1.3.2 \
  pytest==8.4.2 iniconfig==2.1.0 pluggy==1.6.0 packaging pygments exceptiongroup tomli
du -sh "$folder"
