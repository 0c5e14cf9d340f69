#!/usr/bin/env bash
# Installs the Python clients of tests/clients into .build/clients/venv, one release each; `cargo xtask clients` calls it.
set -euo pipefail
cd "$(dirname "$0")/../.."
VENV=.build/clients/venv
PINS=(numpy==2.3.5 numba==0.62.1 numba-cuda==0.30.0 cuda-core==0.7.0 cuda-bindings==13.5.0 cupy-cuda13x==14.2.0
      triton==3.9.0 warp-lang==1.19.0 taichi==1.7.4 setuptools==80.9.0
      nvidia-cuda-nvrtc==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85 nvidia-nvvm==13.0.88
      nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88)
if [ "$(cat "$VENV/pins" 2>/dev/null)" != "${PINS[*]}" ]; then
    echo "installing CUDA's Python clients into $VENV"
    rm -rf "$VENV"
    mkdir -p "$(dirname "$VENV")"
    python3 -m venv "$VENV"
    "$VENV/bin/pip" install --quiet --disable-pip-version-check --no-input "${PINS[@]}"
    printf '%s' "${PINS[*]}" >"$VENV/pins"
fi
