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
mkdir -p -m 700 "$store"
saved=$(cat "$store/latest" 2>/dev/null)

save() {
    # The shell that waits is woken by the signal, and waits again if this fails: then the job ends with its time.
    next=$store/$(date +%s)
    if hetgpu-migrate checkpoint "$program" -o "$next"; then
        echo "$next" >"$store/latest.part" && mv "$store/latest.part" "$store/latest"
        [ -z "$saved" ] || rm -rf "$saved"
        # It comes back with its number, which is free once somebody has heard of its end.
        wait "$program" 2>/dev/null
        scontrol requeue "$SLURM_JOB_ID"
        exit 0
    fi
}
trap save USR1

if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] && [ -n "$saved" ]; then
    program=$(sed -n 's/^ *"pid": \([0-9]*\),*$/\1/p' "$saved/job.json")
    hetgpu-migrate restore "$saved" --cut-files || exit 1
else
    # Its output goes to a file of its own: what Slurm appends to the job's output has another length the next time.
    setsid hetgpu run "$@" >"$store/output" 2>&1 </dev/null &
    program=$!
fi
# A program that came back is no child of this shell; where nobody asks how it ended, its number stays in use.
while grep -q '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$program/status" 2>/dev/null; do
    sleep 1 &
    wait $!
done
cat "$store/output"
rm -rf "$store"
