#!/usr/bin/env bash
# Puts Slurm into .build/slurm, if there is none: the distribution's packages, unpacked and not installed, so that no service is
# added to the system. `bin` there has its programs, `plugins` its plugins. Whoever has none tests the example for Slurm nowhere:
# the test says so and is skipped. It gives up where it takes long.
set -euo pipefail
cd "$(dirname "$0")/../.."

mkdir -p .build
folder=$(cd .build && pwd -P)/slurm
programs=(munged slurmctld slurmd slurmstepd sbatch scancel scontrol sinfo)
give_up() { rm -rf "$folder"; printf 'slurm: %s: the example for Slurm is not tested here\n' "$*"; exit 0; }

[ -x "$folder/bin/slurmd" ] && "$folder/bin/slurmd" -V >/dev/null 2>&1 && exit 0
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || give_up "no apt-get and dpkg-deb here"
rm -rf "$folder"
mkdir -p "$folder"/{bin,files} "$folder"/apt/{lists,archives}/partial
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
# Those that are installed as well: what is unpacked has to be whole.
timeout 120 apt-get install -qq -y --download-only --reinstall slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge libmunge2 \
    >/dev/null 2>&1 || give_up "its packages cannot be fetched"
for package in "$folder"/apt/archives/*.deb; do dpkg-deb -x "$package" "$folder/files"; done
rm -rf "$folder/apt"

# They look for libraries and plugins where they would be installed. Started by the loader they find them here, and jobs do not inherit
# what a variable would say.
loader=$(ldd /bin/sh | grep -o '/[^ ]*/ld-linux[^ ]*' | head -n 1) || give_up "no loader of programs is found"
plugins=$(find "$folder/files" -name auth_munge.so -printf '%h\n' | head -n 1)
[ -n "$plugins" ] || give_up "its packages hold no plugins"
ln -s "$plugins" "$folder/plugins"
libraries=$(find "$folder/files" -name '*.so.*' -printf '%h\n' | sort -u | tr '\n' ':')$plugins
for program in "${programs[@]}"; do
    file=$(find "$folder/files/usr" -path "*bin/$program-wlm" -type f -o -path "*bin/$program" -type f | head -n 1)
    [ -n "$file" ] || give_up "its packages hold no $program"
    printf '#!/bin/sh\nexec "%s" --library-path "%s" "%s" "$@"\n' "$loader" "$libraries" "$file" >"$folder/bin/$program"
    chmod +x "$folder/bin/$program"
done
"$folder/bin/slurmd" -V >/dev/null 2>&1 || give_up "it does not start"
printf 'slurm: %s is in .build/slurm\n' "$("$folder/bin/slurmd" -V)"
