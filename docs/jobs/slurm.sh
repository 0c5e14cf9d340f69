#!/bin/bash
#SBATCH --job-name=hetgpu
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
# A job that outlives its time: two minutes before that is over Slurm signals this script, which saves the program and queues itself
# again; the next time it goes on. Submit it as `sbatch slurm.sh PROGRAM ARGUMENT...`. The folder of checkpoints is on a file system that
# all nodes have, and CRIU may run there (root, or capabilities on its file).
set -u
store=${HETGPU_CHECKPOINTS:-$PWD/checkpoints}/${SLURM_JOB_ID:?this script is for sbatch}
# The signal may come while the program is being started or brought back: what it asks for is done when there is something to save.
asked=
trap 'asked=yes' USR1
mkdir -p -m 700 "$store"
saved=$(cat "$store/latest" 2>/dev/null)

# Ends the program with the job: Slurm may not know one that came back for the job's.
end() {
    kill "$program" 2>/dev/null
    for _ in $(seq 10); do lives && sleep 1; done
    lives && kill -KILL "$program"
    exit 143
}

# A program that came back is no child of this shell; where nobody asks how it ended, its number stays in use.
lives() { grep -q '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$program/status" 2>/dev/null; }

# Ends this script, unless the program could not be saved: it runs then, and there may be time for another try.
save() {
    local next=$store/$(date +%s)
    hetgpu-migrate checkpoint "$program" -o "$next" || { sleep 5; return; }
    trap '' TERM
    echo "$next" >"$store/latest.part" && mv "$store/latest.part" "$store/latest" && [ -n "$saved" ] && rm -rf "$saved"
    # It comes back with its number, which is free once somebody has heard of its end.
    { wait "$program"; } 2>/dev/null
    scontrol requeue "$SLURM_JOB_ID" && exit 0
    echo "it is saved, but not queued again; \`hetgpu-migrate restore $next --cut-files\` brings it back" >&2
    exit 1
}

if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] && [ -n "$saved" ]; then
    program=$(sed -n 's/^ *"pid": \([0-9]*\),*$/\1/p' "$saved/job.json")
    hetgpu-migrate restore "$saved" --cut-files || exit 1
else
    # Its output goes to a file of its own: what Slurm appends to the job's output has another length the next time.
    setsid hetgpu run "$@" >"$store/output" 2>&1 </dev/null &
    program=$!
fi
trap end TERM
while lives; do
    if [ -n "$asked" ]; then save; fi
    sleep 1 &
    wait $!
done
cat "$store/output"
rm -rf "$store"
