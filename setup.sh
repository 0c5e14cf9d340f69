#!/usr/bin/env bash
# Sets a Debian 12 or Ubuntu 24.04 machine up to build, run and test hetGPU. It asks nothing, may be run again, and
# installs only what is missing: distribution packages, Rust, and a CUDA toolkit without a GPU driver in .build/cuda.
# HETGPU_CUDA_TOOLKIT may name a CUDA 13 toolkit that is there already (a folder with bin/nvcc, or the Python
# environment that holds one). Afterwards `. .build/env` gives the shell what was installed.
set -euo pipefail
cd "$(dirname "$0")"

RUST_MINIMUM=1.90
# Installed where there is none: a newer one has lints that the code has not seen.
RUST_VERSION=1.95.0
RUSTUP_VERSION=1.28.2
RUSTUP_SHA256_x86_64=20a06e644b0d9bd2fbdbfd52d42540bdde820ea7df86e92e533c073da0cdd43c
RUSTUP_SHA256_aarch64=e3853c5a252fca15252d07cb23a1bdd9377a8c6f3efa01531109281ae47f841c
PACKAGES=(build-essential ca-certificates git pkg-config python3 python3-pip python3-venv)
# LLVM 19 and what its static libraries link against.
PACKAGES+=(llvm-19-dev libpolly-19-dev zlib1g-dev libzstd-dev libxml2-dev libffi-dev libncurses-dev)
# For `check valgrind`, and for faults in front of each step of a program.
PACKAGES+=(valgrind strace)
# One release each: pip would mix releases that do not fit together.
TOOLKIT_PINS=(nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96
              nvidia-cuda-cccl==13.0.85 nvidia-cuda-nvrtc==13.0.88)
PYTHON_PINS=(nvidia-ml-py==13.580.82)

# Older compilers: nvcc from Debian's non-free section, headers and runtime library from wheels.
OLDER_TOOLKITS=(12.4 11.8)
NVCC_12_4=(12.4.131~12.4.1-2 cd5fe85aee38d108b315f408a688641478f2402622a10c677478eb7a6c4e5319
           nvidia-cuda-nvcc-cu12==12.4.131 nvidia-cuda-runtime-cu12==12.4.127 nvidia-cuda-cccl-cu12==12.4.127.post1)
NVCC_11_8=(11.8.89~11.8.0-5~deb12u1 d1156026e704fe0368b6295db06224ed00a727966fb13454f34e3f3102db0457
           nvidia-cuda-nvcc-cu11==11.8.89 nvidia-cuda-runtime-cu11==11.8.89 nvidia-cuda-cccl-cu11==11.8.89.post1)
# Older runtime libraries that programs have inside of them; those wheels alone hold the static form.
OLDER_RUNTIMES=(12.9.79)

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$@" >&2; exit 1; }

fetch() { python3 -c 'import sys, urllib.request; urllib.request.urlretrieve(*sys.argv[1:])' "$1" "$2"; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "this needs root or sudo: $*"
    fi
}

install_packages() {
    local missing=() package
    command -v dpkg-query >/dev/null || fail "no dpkg here: this script knows Debian 12 and Ubuntu 24.04;" \
        "elsewhere install gcc, g++, git, python3 with venv and pip, and Rust $RUST_MINIMUM or newer"
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
}

# True if there is a cargo that is new enough, with rustfmt and clippy.
rust_is_there() {
    local version
    version=$(cargo --version 2>/dev/null | cut -d ' ' -f 2) || return 1
    [ "$(printf '%s\n' "$RUST_MINIMUM" "$version" | sort -V | head -n 1)" = "$RUST_MINIMUM" ] || return 1
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1
}

fetch_rustup() {
    local machine sum file=.build/rustup-init
    machine=$(uname -m)
    sum=RUSTUP_SHA256_$machine
    [ -n "${!sum:-}" ] || fail "no Rust installer is known for $machine: install Rust $RUST_MINIMUM or newer"
    say "fetching rustup $RUSTUP_VERSION"
    fetch "https://static.rust-lang.org/rustup/archive/$RUSTUP_VERSION/$machine-unknown-linux-gnu/rustup-init" "$file" ||
        fail "rustup cannot be fetched. Install Rust $RUST_MINIMUM or newer with rustfmt and clippy" \
             "(https://rust-lang.org/tools/install), see that cargo is in PATH, and run this again"
    printf '%s  %s\n' "${!sum}" "$file" | sha256sum --check --quiet || fail "$file is not the expected file"
    chmod +x "$file"
    "$file" -y --quiet --no-update-default-toolchain --default-toolchain none
}

install_rust() {
    export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    rust_is_there && return 0
    if ! command -v rustup >/dev/null; then
        # Ubuntu has a rustup package; the Rust of both distributions is older than needed.
        if [ -n "$(apt-cache policy rustup 2>/dev/null | grep 'Candidate: [0-9]')" ]; then
            install_packages rustup
        else
            fetch_rustup
        fi
        hash -r
    fi
    say "installing Rust $RUST_VERSION"
    # A rustup that is a distribution's package cannot update itself, and fails where it tries.
    rustup toolchain install "$RUST_VERSION" --no-self-update --profile minimal --component rustfmt --component clippy
    export RUSTUP_TOOLCHAIN=$RUST_VERSION
    rust_is_there || fail "cargo is $(cargo --version 2>&1 | head -n 1) at $(command -v cargo):" \
        "$RUST_MINIMUM or newer with rustfmt and clippy is needed; see that it comes first in PATH"
}

# The standard library's sources, for `check tsan`, which builds it anew. It is left out where they cannot be had.
install_rust_sources() {
    [ ! -e "$(rustc --print sysroot)/lib/rustlib/src/rust/library/Cargo.toml" ] || return 0
    say "installing the sources of Rust's standard library"
    { command -v rustup >/dev/null && rustup component add rust-src; } || say "they cannot be had: \`check tsan\` is skipped"
}

# The toolkit folder of a path that is one or holds one.
toolkit_in() {
    local folder
    for folder in "$1" "$1"/lib/python3*/site-packages/nvidia/cu13; do
        [ -x "$folder/bin/nvcc" ] && [ -x "$folder/bin/ptxas" ] && { (cd "$folder" && pwd -P); return 0; }
    done
    return 1
}

install_toolkit() {
    local venv=.build/cuda/venv stamp=.build/cuda/venv/pins toolkit
    mkdir -p .build/cuda
    if [ -n "${HETGPU_CUDA_TOOLKIT:-}" ]; then
        toolkit=$(toolkit_in "$HETGPU_CUDA_TOOLKIT") ||
            fail "HETGPU_CUDA_TOOLKIT=$HETGPU_CUDA_TOOLKIT holds no bin/nvcc and bin/ptxas"
    else
        if [ "$(cat "$stamp" 2>/dev/null)" != "${TOOLKIT_PINS[*]}" ]; then
            say "installing a CUDA toolkit into $venv"
            rm -rf "$venv"
            python3 -m venv "$venv"
            "$venv/bin/pip" install --quiet --disable-pip-version-check --no-input "${TOOLKIT_PINS[@]}"
            printf '%s' "${TOOLKIT_PINS[*]}" >"$stamp"
        fi
        toolkit=$(toolkit_in "$venv") || fail "the wheels in $venv hold no nvcc: remove the folder and run this again"
    fi
    # nvcc looks for lib64 and for the plain name of the runtime library; the wheels have neither.
    [ -e "$toolkit/lib64" ] || ln -s lib "$toolkit/lib64"
    [ -e "$toolkit/lib64/libcudart.so" ] || ln -s libcudart.so.13 "$toolkit/lib64/libcudart.so"
    ln -sfn "$toolkit" .build/cuda/toolkit
    say "CUDA toolkit: $toolkit"
}

# Modules that tests in Python use.
install_python_modules() {
    local venv=.build/python
    [ "$(cat "$venv/pins" 2>/dev/null)" = "${PYTHON_PINS[*]}" ] && return 0
    say "installing Python modules for tests into $venv"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-input "${PYTHON_PINS[@]}"
    printf '%s' "${PYTHON_PINS[*]}" >"$venv/pins"
}

# Each in a folder of its own: .build/cuda/runtime-12.4 and so on.
install_older_runtimes() {
    local version folder
    for version in "${OLDER_RUNTIMES[@]}"; do
        folder=.build/cuda/runtime-${version%.*}
        [ "$(cat "$folder/version" 2>/dev/null)" != "$version" ] || continue
        say "installing CUDA's runtime library $version"
        rm -rf "$folder"
        .build/python/bin/pip install --quiet --disable-pip-version-check --no-input --no-deps --target "$folder" \
            "nvidia-cuda-runtime-cu12==$version"
        printf '%s' "$version" >"$folder/version"
    done
}

# Each in a folder of its own: .build/cuda/toolkit-12.4 and so on. Tests that want one that is not there are skipped.
install_older_toolkits() {
    local release pins folder unpacked wheels archive
    [ "$(uname -m)" = x86_64 ] || return 0
    for release in "${OLDER_TOOLKITS[@]}"; do
        declare -n pins=NVCC_${release/./_}
        folder=.build/cuda/toolkit-$release unpacked=.build/cuda/unpacked wheels=.build/cuda/wheels
        [ "$(cat "$folder/pins" 2>/dev/null)" != "${pins[*]}" ] || continue
        say "installing nvcc $release"
        rm -rf "$folder" "$unpacked" "$wheels"
        mkdir -p "$folder/bin" "$folder/nvvm/bin" "$unpacked"
        archive=nvidia-cuda-toolkit_${pins[0]}_amd64.deb
        if ! fetch "http://deb.debian.org/debian/pool/non-free/n/nvidia-cuda-toolkit/$archive" "$unpacked/deb"; then
            say "nvcc $release cannot be fetched: programs built by it are left out of the tests"
            rm -rf "$folder" "$unpacked"
            continue
        fi
        printf '%s  %s\n' "${pins[1]}" "$unpacked/deb" | sha256sum --check --quiet || fail "$archive is not the expected file"
        dpkg-deb -x "$unpacked/deb" "$unpacked"
        .build/python/bin/pip install --quiet --disable-pip-version-check --no-input --no-deps --target "$wheels" \
            "${pins[@]:2}"
        mv "$unpacked"/usr/bin/{cudafe++,fatbinary,ptxas,nvlink} "$folder/bin"
        mv "$unpacked"/usr/lib/nvidia-cuda-toolkit/bin/{nvcc,crt} "$folder/bin"
        mv "$unpacked/usr/lib/nvidia-cuda-toolkit/bin/cicc" "$folder/nvvm/bin"
        mv "$unpacked/usr/lib/nvidia-cuda-toolkit/libdevice" "$folder/nvvm"
        mv "$wheels/nvidia/cuda_runtime/include" "$folder"
        mv "$wheels/nvidia/cuda_runtime/lib" "$folder/lib64"
        cp -r "$wheels"/nvidia/cuda_{nvcc,cccl}/include/. "$folder/include"
        ln -sf "$(cd "$folder/lib64" && echo libcudart.so.*)" "$folder/lib64/libcudart.so"
        cat >"$folder/bin/nvcc.profile" <<'PROFILE'
TOP = $(_HERE_)/..
CICC_PATH = $(TOP)/nvvm/bin
NVVMIR_LIBRARY_DIR = $(TOP)/nvvm/libdevice
PATH += $(CICC_PATH):$(_HERE_):
INCLUDES += "-I$(TOP)/include" $(_SPACE_)
LIBRARIES =+ $(_SPACE_) "-L$(TOP)/lib64"
PROFILE
        rm -rf "$unpacked" "$wheels"
        printf '%s' "${pins[*]}" >"$folder/pins"
    done
}

install_packages "${PACKAGES[@]}"
mkdir -p .build
install_rust
install_rust_sources
install_toolkit
install_python_modules
install_older_toolkits
install_older_runtimes
tests/criu/setup.sh
tests/slurm/setup.sh
tests/podman/setup.sh
cat >.build/env <<EOF
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:\$PATH"
export HETGPU_CUDA_TOOLKIT="$PWD/.build/cuda/toolkit"
export LLVM_SYS_191_PREFIX=/usr/lib/llvm-19
${RUSTUP_TOOLCHAIN:+export RUSTUP_TOOLCHAIN=$RUSTUP_TOOLCHAIN}
EOF
say "done with $(cargo --version)"
