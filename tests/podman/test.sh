#!/usr/bin/env bash
# The example of docs/jobs/podman.md: an n-body program in a container stands still, is saved with its container, removed, brought back and
# goes on. Run by `cargo xtask podman`, as root and in a namespace of mounts of its own:
#     test.sh PACKAGES FOLDER CRIU BODIES STEPS REST
# FOLDER has nbody, libcuda.so.1 and hetgpu-migrate. Its last line is what the program printed last. Where the system does not let packages be
# laid over its folders it ends with 77.
set -euo pipefail
packages=$1 folder=$2 criu=$3 bodies=$4 steps=$5 rest=$6
work=$folder/podman
mount --make-rprivate / || exit 77

# What the packages hold is laid over what the system has.
mkdir -p "$work/over"
mount -t tmpfs none "$work/over" || exit 77
for place in usr etc; do
    mkdir "$work/over/$place" "$work/over/$place-work"
    mount -t overlay none -o "lowerdir=$packages/$place:/$place,upperdir=$work/over/$place,workdir=$work/over/$place-work" "/$place" || exit 77
done
for name in iptables ip6tables; do
    for what in "" -save -restore; do ln -sf xtables-nft-multi "/usr/sbin/$name$what"; done
done
# It keeps notes beside the system's own.
mount -t tmpfs none /var/cache/ldconfig 2>/dev/null || true
ldconfig
printf '#!/bin/sh\nexec "%s" "$@"\n' "$criu" >/usr/local/bin/criu
chmod +x /usr/local/bin/criu

podman() {
    command podman --runtime runc --cgroup-manager cgroupfs --storage-driver vfs --root "$work/store" --runroot "$work/run" \
        --tmpdir "$work/tmp" "$@"
}
trap 'podman rm --force --time 0 job >/dev/null 2>&1 || true' EXIT

# An image of the program, the command and what they are linked with.
image=$work/image
mkdir -p "$image"/{bin,job,tmp,proc,sys,dev,run/hetgpu}
cp "$folder"/{nbody,libcuda.so.1,hetgpu-migrate} "$image/job/"
strip --strip-debug "$image"/job/* 2>/dev/null || true
cp /bin/sh "$image/bin/"
for file in "$image"/job/* "$image/bin/sh"; do
    ldd "$file" | grep -o '/[^ ]*' | grep -v "^$image" | while read -r library; do
        mkdir -p "$image/$(dirname "$library")"
        cp -L "$library" "$image/$library"
    done
done
tar -C "$image" -c . | podman import - job:1 >/dev/null 2>&1

mkdir -m 700 "$work/sockets"
limits=(--ulimit "nofile=$(ulimit -Hn):$(ulimit -Hn)" --ulimit nproc=4096:4096)
podman run --detach --name job --network none --security-opt seccomp=unconfined "${limits[@]}" --volume "$work/sockets:/run/hetgpu" \
    --env XDG_RUNTIME_DIR=/run/hetgpu --env LD_LIBRARY_PATH=/job --env HETGPU_LOG=error job:1 \
    /bin/sh -c "/job/hetgpu-migrate agent /run/hetgpu/agent.sock & exec /job/nbody $bodies $steps $rest" >/dev/null

last() { podman logs job 2>&1 | tail -n 1; }
agent() { podman exec job /job/hetgpu-migrate agent /run/hetgpu/agent.sock --ask "$@"; }
fail() { printf 'podman: %s\n' "$*"; podman logs job 2>&1 | tail -n 5; exit 1; }

for _ in $(seq 600); do
    case $(last) in step\ *) break ;; esac
    sleep 0.1
done
agent freeze --release --limit 600 || fail "the job is not frozen"
frozen=$(last)
sleep 1
[ "$(last)" = "$frozen" ] || fail "it does not stand still: $frozen, and later $(last)"
podman container checkpoint job --export "$work/job.tar.gz" >/dev/null || fail "the container was not saved"
podman rm job >/dev/null
podman container restore --import "$work/job.tar.gz" >/dev/null || fail "the container was not brought back"
sleep 1
[ "$(last)" = "$frozen" ] || fail "it goes on before it is let: $frozen, and later $(last)"
agent thaw || fail "the job is not thawed"
podman exec job /job/hetgpu-migrate ps --json | grep -q '"stage":"running"' || fail "ps does not list it: $(podman exec job /job/hetgpu-migrate ps --json)"
[ "$(podman wait job)" = 0 ] || fail "it ended with a failure"
printf 'it stood still at %s\n' "$frozen"
last
