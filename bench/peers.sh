#!/usr/bin/env bash
# Installs what `cargo xtask bench cpu` compares with: PoCL from the distribution, and Intel's OpenCL runtime for
# processors from PyPI into .build/peers. The latter is proprietary (its licence comes with it) and only measured.
# May be run again.
set -euo pipefail
cd "$(dirname "$0")/.."

PINS=(intel-opencl-rt==2026.2.0 intel-cmplr-lib-rt==2026.2.0)

if ! ldconfig -p | grep -q 'libpocl\.so\.2 ' || ! ldconfig -p | grep -q 'libOpenCL\.so\.1 '; then
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -q
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        libpocl2 ocl-icd-libopencl1
fi

venv=.build/peers
if [ "$(cat "$venv/pins" 2>/dev/null)" != "${PINS[*]}" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-input "${PINS[@]}"
    printf '%s' "${PINS[*]}" >"$venv/pins"
fi
echo "peers: PoCL $(dpkg-query -W -f '${Version}' libpocl2 2>/dev/null || echo '(unknown version)')," \
    "Intel $(cat "$venv/pins")"
