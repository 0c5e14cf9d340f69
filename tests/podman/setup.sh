#!/usr/bin/env bash
# Puts podman and runc into .build/podman, if there are none: the distribution's packages, unpacked and not installed, so that nothing is
# added to the system. `files` there is laid over the system's own folders by `tests/podman/test.sh`, for as long as that runs. Whoever has
# none tests the example for podman nowhere: the test says so and is skipped. It gives up where it takes long.
set -euo pipefail
cd "$(dirname "$0")/../.."

mkdir -p .build
folder=$(cd .build && pwd -P)/podman
give_up() { rm -rf "$folder"; printf 'podman: %s: the example for podman is not tested here\n' "$*"; exit 0; }

[ -x "$folder/files/usr/bin/podman" ] && exit 0
. tests/packages.sh
unpack "$folder" podman runc iptables
[ -x "$folder/files/usr/bin/podman" ] && [ -x "$folder/files/usr/sbin/runc" ] || give_up "it is installed as a whole already, or not to be had"
printf 'podman: its packages are in .build/podman\n'
