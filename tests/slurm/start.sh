#!/usr/bin/env bash
# start.sh FOLDER CONTROLLER_PORT NODE_PORT SOCKETS: Slurm with one node, this machine, which keeps all that is its own in FOLDER. It
# is the first process of a namespace (`unshare --pid --fork --kill-child --mount --mount-proc`), so that all of it, jobs too, ends with
# it. Programs of the namespace have their sockets in a SOCKETS of their own: numbers of processes are others outside.
set -euo pipefail
folder=$1 controller=$2 node=$3 sockets=$4
cd "$(dirname "$0")/../.."
slurm=$PWD/.build/slurm

mkdir -p "$sockets" "$folder"/{state,spool}
mount -t tmpfs -o mode=700 none "$sockets"
(umask 077 && head -c 128 /dev/urandom >"$folder/munge.key")
cat >"$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$controller
SlurmdPort=$node
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
# A job that is queued again does not begin before its credentials have run out: after two minutes, if nothing is said.
AuthInfo=socket=$folder/munge.socket,cred_expire=5
PluginDir=$slurm/plugins
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SchedulerParameters=sched_interval=2,bf_interval=2
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/linear
MailProg=/bin/true
JobRequeue=1
NodeName=node NodeAddr=127.0.0.1 CPUs=1
PartitionName=all Nodes=node Default=YES State=UP
CONF
# The kind that looks for nothing at its start, neither for systemd nor for what is mounted.
echo CgroupPlugin=cgroup/v1 >"$folder/cgroup.conf"
export SLURM_CONF=$folder/slurm.conf

begin() { "$slurm/bin/$1" "${@:2}" </dev/null >"$folder/$1.log" 2>&1 & }
# By force: others need not be able to reach the folder.
begin munged --foreground --force --key-file "$folder/munge.key" --socket "$folder/munge.socket" --pid-file "$folder/munged.pid" \
    --seed-file "$folder/munged.seed"
until [ -S "$folder/munge.socket" ]; do sleep 0.05; done
begin slurmctld -D -i
begin slurmd -D -N node -d "$slurm/bin/slurmstepd"
# None of them ends by itself.
wait -n || true
