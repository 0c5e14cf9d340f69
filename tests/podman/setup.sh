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
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || give_up "no apt-get and dpkg-deb here"
rm -rf "$folder"
mkdir -p "$folder/files" "$folder"/apt/{lists,archives}/partial
cat >"$folder/apt/conf" <<CONF
Dir::State "$folder/apt";
Dir::State::lists "$folder/apt/lists";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$folder/apt";
Dir::Cache::archives "$folder/apt/archives";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Debug::NoLocking "true";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
CONF
export APT_CONFIG=$folder/apt/conf
timeout 120 apt-get update -qq >/dev/null 2>&1 || give_up "the list of packages cannot be fetched"
# With what they need and the system has not.
timeout 120 apt-get install -qq -y --download-only podman runc iptables >/dev/null 2>&1 || give_up "its packages cannot be fetched"
for package in "$folder"/apt/archives/*.deb; do dpkg-deb -x "$package" "$folder/files"; done
rm -rf "$folder/apt"
[ -x "$folder/files/usr/bin/podman" ] && [ -x "$folder/files/usr/sbin/runc" ] || give_up "it is installed as a whole already, or not to be had"
printf 'podman: its packages are in .build/podman\n'
