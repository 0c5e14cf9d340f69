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
. tests/packages.sh
# Those that are installed as well: what is unpacked has to be whole.
unpack "$folder" --reinstall slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge libmunge2
mkdir "$folder/bin"

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
