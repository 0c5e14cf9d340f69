#!/usr/bin/env bash
# Puts CRIU into .build/criu, if there is none: Debian's newest, with the libraries that it was built with, started by their own
# loader, so that nothing of the system changes. Older releases' CRIU fails with today's kernels. Whoever has none saves what is
# on devices and not whole jobs; tests say so and skip. It gives up where it takes long.
set -euo pipefail
cd "$(dirname "$0")/../.."

mkdir -p .build
folder=$(cd .build && pwd -P)/criu
give_up() { printf 'criu: %s: whole jobs cannot be saved here, and tests that do are skipped\n' "$*"; exit 0; }

[ -x "$folder/criu" ] && "$folder/criu" --version >/dev/null 2>&1 && exit 0
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || give_up "no apt-get and dpkg-deb here"
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keys" ] || give_up "no keys of Debian's in $keys"
rm -rf "$folder"
mkdir -p "$folder"/apt/{lists,archives}/partial "$folder/files"
touch "$folder/apt/status"
echo "deb [signed-by=$keys] http://deb.debian.org/debian sid main" >"$folder/apt/sources.list"
cat >"$folder/apt/conf" <<CONF
Dir::State "$folder/apt";
Dir::State::lists "$folder/apt/lists";
Dir::State::status "$folder/apt/status";
Dir::Etc::sourcelist "$folder/apt/sources.list";
Dir::Etc::sourceparts "-";
Dir::Cache "$folder/apt";
Dir::Cache::archives "$folder/apt/archives";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
CONF
export APT_CONFIG=$folder/apt/conf
timeout 60 apt-get update -qq >/dev/null 2>&1 || give_up "Debian's list of packages cannot be fetched"
timeout 60 apt-get install -qq -y --download-only criu >/dev/null 2>&1 || give_up "its packages cannot be fetched"
for package in "$folder"/apt/archives/*.deb; do dpkg-deb -x "$package" "$folder/files"; done
rm -rf "$folder/apt"
loader=$(find "$folder/files" -name 'ld-linux*' -type f | head -n 1)
[ -n "$loader" ] || give_up "its packages hold no loader"
cat >"$folder/criu" <<RUN
#!/bin/sh
exec "$loader" --library-path "$(dirname "$loader")" "$folder/files/usr/sbin/criu" "\$@"
RUN
chmod +x "$folder/criu"
"$folder/criu" --version >/dev/null 2>&1 || { rm -rf "$folder"; give_up "it does not start"; }
printf 'criu: %s is in .build/criu\n' "$("$folder/criu" --version | sed -n 's/^Version: //p')"
