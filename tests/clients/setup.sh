#!/usr/bin/env bash
# Installs the clients of tests/clients into .build/clients, one release each; `cargo xtask clients` calls it.
set -euo pipefail
cd "$(dirname "$0")/../.."
VENV=.build/clients/venv
PINS=(numpy==2.3.5 numba==0.62.1 numba-cuda==0.30.0 cuda-core==0.7.0 cuda-bindings==13.5.0 cupy-cuda13x==14.2.0
      triton==3.9.0 warp-lang==1.19.0 taichi==1.7.4 setuptools==80.9.0
      nvidia-cuda-nvrtc==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85 nvidia-nvvm==13.0.88
      nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88)
# What numba-cuda's tests import.
PINS+=(pytest==9.0.2 filecheck==1.0.6 filelock==3.20.0 cffi==2.0.0)
# NVRTC and the headers that cubecl's release knows.
CUDA_12=.build/clients/cuda-12
CUDA_12_PINS=(nvidia-cuda-nvrtc-cu12==12.4.127 nvidia-cuda-runtime-cu12==12.4.127)
# Its tests are in the package.
CUDARC=.build/clients/cudarc
CUDARC_VERSION=0.19.10

if [ "$(cat "$VENV/pins" 2>/dev/null)" != "${PINS[*]}" ]; then
    echo "installing CUDA's Python clients into $VENV"
    rm -rf "$VENV"
    mkdir -p "$(dirname "$VENV")"
    python3 -m venv "$VENV"
    "$VENV/bin/pip" install --quiet --disable-pip-version-check --no-input "${PINS[@]}"
    printf '%s' "${PINS[*]}" >"$VENV/pins"
fi
if [ "$(cat "$CUDA_12/pins" 2>/dev/null)" != "${CUDA_12_PINS[*]}" ]; then
    rm -rf "$CUDA_12"
    "$VENV/bin/pip" install --quiet --disable-pip-version-check --no-input --no-deps --target "$CUDA_12" \
        "${CUDA_12_PINS[@]}"
    printf '%s' "${CUDA_12_PINS[*]}" >"$CUDA_12/pins"
fi
if [ "$(cat "$CUDARC/pins" 2>/dev/null)" != "$CUDARC_VERSION" ]; then
    echo "fetching cudarc $CUDARC_VERSION into $CUDARC"
    rm -rf "$CUDARC"
    mkdir -p "$CUDARC/fetch/src"
    printf '[package]\nname = "fetch"\nedition = "2024"\n[dependencies]\ncudarc = "=%s"\n[workspace]\n' \
        "$CUDARC_VERSION" >"$CUDARC/fetch/Cargo.toml"
    touch "$CUDARC/fetch/src/lib.rs"
    cargo vendor --quiet --manifest-path "$CUDARC/fetch/Cargo.toml" "$CUDARC/vendor" >/dev/null
    mv "$CUDARC/vendor/cudarc" "$CUDARC/source"
    printf '\n[workspace]\n' >>"$CUDARC/source/Cargo.toml"
    printf '%s' "$CUDARC_VERSION" >"$CUDARC/pins"
fi
