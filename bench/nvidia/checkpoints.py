#!/usr/bin/env python3
"""How long jobs on a card stand still: paused in a kernel, set aside in memory and put back, moved to the CPU and back.

    checkpoints.py MODE... --ours FOLDER --out RAW.json [--page PAGE.md] [FLAGS]

MODE: pauses, checkpoints. FOLDER holds our library as libcuda.so.1. Moves are measured where --hetgpu names the command of that name.
The card's own driver does the same by its own checkpoints (cuCheckpointProcess*), with the same bytes, one after the other, and by a copy
to pinned memory, which is the most that there is to be had. What a job has computed and what lies in its memory is checked.
Needs nothing but Python. A process of its own makes each call for a job, as for other tools that save processes.
"""
import argparse
import ctypes
import datetime
import json
import os
import pathlib
import random
import select
import statistics
import subprocess
import sys
import tempfile
import time

from run import card

MIB = 1 << 20
PATIENCE_S = 120
# What a job's random numbers are made of.
KERNELS = b"""
.version 7.0
.target sm_70
.address_size 64
.visible .entry fill(.param .u64 at, .param .u64 count, .param .u64 seed, .param .u64 run, .param .u64 stride)
{
    .reg .pred %p;
    .reg .b32 %r<6>;
    .reg .b64 %i, %n, %v, %w, %s, %a, %step, %run, %stride, %base;
    ld.param.u64 %base, [at];
    ld.param.u64 %n, [count];
    ld.param.u64 %s, [seed];
    ld.param.u64 %run, [run];
    ld.param.u64 %stride, [stride];
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r2, %ntid.x;
    mov.u32 %r3, %tid.x;
    mov.u32 %r4, %nctaid.x;
    mad.lo.u32 %r5, %r1, %r2, %r3;
    cvt.u64.u32 %i, %r5;
    mul.wide.u32 %step, %r2, %r4;
fill_loop:
    setp.ge.u64 %p, %i, %n;
    @%p bra fill_end;
    add.u64 %v, %i, %s;
    mul.lo.u64 %v, %v, 0x9E3779B97F4A7C15;
    shr.u64 %w, %v, 30;
    xor.b64 %v, %v, %w;
    mul.lo.u64 %v, %v, 0xBF58476D1CE4E5B9;
    shr.u64 %w, %v, 27;
    xor.b64 %v, %v, %w;
    div.u64 %w, %i, %run;
    rem.u64 %a, %i, %run;
    mad.lo.u64 %a, %w, %stride, %a;
    shl.b64 %a, %a, 3;
    add.u64 %a, %a, %base;
    st.global.u64 [%a], %v;
    add.u64 %i, %i, %step;
    bra fill_loop;
fill_end:
    ret;
}
.visible .entry sum(.param .u64 at, .param .u64 count, .param .u64 out)
{
    .reg .pred %p;
    .reg .b32 %r<6>;
    .reg .b64 %i, %n, %v, %w, %s, %a, %step, %base;
    ld.param.u64 %base, [at];
    ld.param.u64 %n, [count];
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r2, %ntid.x;
    mov.u32 %r3, %tid.x;
    mov.u32 %r4, %nctaid.x;
    mad.lo.u32 %r5, %r1, %r2, %r3;
    cvt.u64.u32 %i, %r5;
    mul.wide.u32 %step, %r2, %r4;
    mov.u64 %s, 0;
sum_loop:
    setp.ge.u64 %p, %i, %n;
    @%p bra sum_end;
    shl.b64 %a, %i, 3;
    add.u64 %a, %a, %base;
    ld.global.u64 %v, [%a];
    // The place counts too.
    mad.lo.u64 %w, %i, 0x9E3779B97F4A7C15, 1;
    mul.lo.u64 %v, %v, %w;
    shr.u64 %w, %v, 29;
    xor.b64 %v, %v, %w;
    add.u64 %s, %s, %v;
    add.u64 %i, %i, %step;
    bra sum_loop;
sum_end:
    ld.param.u64 %a, [out];
    red.global.add.u64 [%a], %s;
    ret;
}
.visible .entry turn(.param .u64 out, .param .u64 rounds)
{
    .reg .pred %p;
    .reg .b32 %r<6>;
    .reg .b64 %n, %a, %w;
    ld.param.u64 %n, [rounds];
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r2, %ntid.x;
    mov.u32 %r3, %tid.x;
    mad.lo.u32 %r4, %r1, %r2, %r3;
    mov.u32 %r5, %r4;
turn_loop:
    mad.lo.u32 %r5, %r5, 1664525, 1013904223;
    sub.u64 %n, %n, 1;
    setp.ne.u64 %p, %n, 0;
    @%p bra turn_loop;
    ld.param.u64 %a, [out];
    mul.wide.u32 %w, %r4, 4;
    add.u64 %a, %a, %w;
    st.global.u32 [%a], %r5;
    ret;
}
\0"""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modes", nargs="+", choices=["pauses", "checkpoints"])
    parser.add_argument("--ours", type=pathlib.Path, required=True, help="folder with our libcuda.so.1")
    parser.add_argument("--hetgpu", type=pathlib.Path, help="our command, for moves")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--folder", type=pathlib.Path, help="where snapshots are written, and removed again; none without it")
    parser.add_argument("--page", type=pathlib.Path, help="where tables are written")
    parser.add_argument("--device", default="nvidia", help="our library's device")
    parser.add_argument("--reference", type=pathlib.Path, help="folder with another libcuda.so.1 instead of the system's, on the CPU")
    parser.add_argument("--sizes", default="64,2048,16384", help="MiB of random data of each job")
    parser.add_argument("--rounds", type=int, default=3, help="checkpoints of each job")
    parser.add_argument("--driver-rounds", type=int, default=1, help="checkpoints of each job by the card's driver")
    parser.add_argument("--arena", default="ahead,none", help="ahead: pinned memory for all of it; none: for a little")
    parser.add_argument("--pauses", type=int, default=100)
    parser.add_argument("--kernel-s", type=float, default=5, help="how long the kernel that is paused runs undisturbed")
    parser.add_argument("--blocks", type=int, default=528, help="blocks of that kernel, of 256 threads")
    parser.add_argument("--seconds", type=float, default=150, help="after so long nothing new is begun")
    return parser.parse_args()


class Driver:
    """The few calls of libcuda.so.1 that are needed."""

    def __init__(self):
        self.library = ctypes.CDLL("libcuda.so.1")

    def __call__(self, name, *values):
        status = getattr(self.library, name)(*values)
        if status != 0:
            raise RuntimeError(f"{name}: error {status}")


def word(value):
    return ctypes.c_uint64(value)


def subject():
    """A job. Answers each line of its input by one of its output."""
    call = Driver()
    call("cuInit", 0)
    context, module = ctypes.c_void_p(), ctypes.c_void_p()
    call("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
    call("cuCtxSetCurrent", context)
    call("cuModuleLoadData", ctypes.byref(module), KERNELS)
    functions = {}
    for name in ["fill", "sum", "turn"]:
        functions[name] = ctypes.c_void_p()
        call("cuModuleGetFunction", ctypes.byref(functions[name]), module, name.encode())

    def allocate(size):
        at = word(0)
        call("cuMemAlloc_v2", ctypes.byref(at), ctypes.c_size_t(size))
        return at

    def launch(name, blocks, *values):
        holders = [value if isinstance(value, ctypes.c_uint64) else word(value) for value in values]
        pointers = (ctypes.c_void_p * len(holders))(*[ctypes.addressof(holder) for holder in holders])
        call("cuLaunchKernel", functions[name], blocks, 1, 1, 256, 1, 1, 0, None, pointers, None)

    def wait():
        call("cuCtxSynchronize")

    def fetch(at, kind, count):
        out = (kind * count)()
        call("cuMemcpyDtoH_v2", out, at, ctypes.c_size_t(ctypes.sizeof(out)))
        return out

    memory = {}
    out = allocate(8)
    name = ctypes.create_string_buffer(100)
    call("cuDeviceGetName", name, 100, 0)

    def make(size):
        memory["at"], memory["bytes"] = allocate(size), size
        launch("fill", 1056, memory["at"], size // 8, 1, size // 8, size // 8)
        wait()

    def touch(seed):
        """A hundredth of it, 64 KiB at a time."""
        run = min(65536, memory["bytes"] // 100) // 8
        count = memory["bytes"] // 8 // (100 * run)
        launch("fill", 132, memory["at"], count * run, seed, run, 100 * run)
        wait()

    def total():
        call("cuMemsetD8_v2", out, ctypes.c_ubyte(0), ctypes.c_size_t(8))
        launch("sum", 1056, memory["at"], memory["bytes"] // 8, out)
        return fetch(out, ctypes.c_uint64, 1)[0]

    def peak():
        """GB/s of copies between the device and pinned memory, to and from the host: the best of some."""
        size = min(memory["bytes"], 256 * MIB)
        host = ctypes.c_void_p()
        call("cuMemHostAlloc", ctypes.byref(host), ctypes.c_size_t(size), 0)
        rates = []
        for way in [("cuMemcpyDtoHAsync_v2", host, memory["at"]), ("cuMemcpyHtoDAsync_v2", memory["at"], host)]:
            best = 0
            for _ in range(5):
                start = time.perf_counter()
                call(*way, ctypes.c_size_t(size), None)
                wait()
                best = max(best, size / (time.perf_counter() - start) / 1e9)
            rates.append(best)
        call("cuMemFreeHost", host)
        return rates

    turning = {}

    def start_turning(rounds, blocks):
        turning.update(rounds=rounds, blocks=blocks, at=turning.get("at") or allocate(blocks * 1024))
        turning["since"] = time.perf_counter()
        launch("turn", blocks, turning["at"], rounds)

    def end_turning():
        """Seconds since its start, and whether each thread has what it should."""
        wait()
        seconds = time.perf_counter() - turning["since"]
        # The same steps at once: x becomes factor * x + term, squared and multiplied as the digits of their number say.
        factor, term, (a, b), n = 1, 0, (1664525, 1013904223), turning["rounds"]
        while n:
            if n & 1:
                factor, term = factor * a % 2**32, (term * a + b) % 2**32
            a, b, n = a * a % 2**32, (b * a + b) % 2**32, n >> 1
        count = turning["blocks"] * 256
        right = all(value == (factor * x + term) % 2**32 for x, value in enumerate(fetch(turning["at"], ctypes.c_uint32, count)))
        return [seconds, right]

    functions_of_lines = {"make": make, "touch": touch, "sum": total, "peak": peak, "turn": start_turning, "turned": end_turning}
    print(json.dumps(name.value.decode()), flush=True)
    for line in sys.stdin:
        what, *values = json.loads(line)
        print(json.dumps(functions_of_lines[what](*values)), flush=True)


def control():
    """Calls of the checkpoint interface for another process. Answers milliseconds and the status of each."""
    library = ctypes.CDLL("libcuda.so.1")
    library.cuInit(0)
    print("true", flush=True)
    for line in sys.stdin:
        name, pid = json.loads(line)
        nothing = (ctypes.c_uint64 * 8)()
        function = getattr(library, "cuCheckpointProcess" + name, None)
        start = time.perf_counter()
        status = function(pid, nothing) if function else 500
        print(json.dumps([(time.perf_counter() - start) * 1e3, status]), flush=True)


class Partner:
    """A process of this program that answers lines."""

    def __init__(self, role, environment):
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [sys.executable, __file__, role], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors
        )
        os.set_blocking(self.process.stdout.fileno(), False)
        self.rest = b""
        self.hello = self.answer()

    def tell(self, *values):
        self.process.stdin.write(json.dumps(values).encode() + b"\n")
        self.process.stdin.flush()

    def answer(self):
        until = time.monotonic() + PATIENCE_S
        while b"\n" not in self.rest:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, until - time.monotonic()))
            part = os.read(self.process.stdout.fileno(), 1 << 16) if ready else b""
            if not part:
                self.process.kill()
                self.errors.seek(0)
                text = self.errors.read().decode(errors="replace").strip().splitlines()[-3:]
                raise RuntimeError("; ".join(["no answer" if not ready else "it ended"] + text))
            self.rest += part
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def ask(self, *values):
        self.tell(*values)
        return self.answer()

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def environment(folder=None, **more):
    chosen = ("HETGPU_DEVICE", "HETGPU_SUSPEND", "HETGPU_ARENA")
    base = {name: value for name, value in os.environ.items() if name not in chosen}
    if folder:
        paths = [str(folder.resolve())] + [path for path in [base.get("LD_LIBRARY_PATH")] if path]
        base["LD_LIBRARY_PATH"] = ":".join(paths)
    base.update(more)
    return base


class Pair:
    """A job, and who calls for it, both with one library."""

    def __init__(self, options, variant, arena_mib=0):
        if variant == "driver":
            env = environment(options.reference, **({"HETGPU_DEVICE": "cpu"} if options.reference else {}))
            self.caller = Partner("--control", env)
        else:
            env = environment(options.ours, HETGPU_DEVICE=options.device, HETGPU_ARENA=str(arena_mib))
            # It needs no device of its own.
            self.caller = Partner("--control", environment(options.ours, HETGPU_DEVICE="cpu"))
        self.job = Partner("--subject", env)
        self.pid = self.job.process.pid

    def call(self, name):
        took, status = self.caller.ask(name, self.pid)
        if status != 0:
            raise RuntimeError(f"cuCheckpointProcess{name}: error {status}")
        return took

    def resident(self):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("VmRSS"))

    def wait_for_arena(self, mib):
        """It is made beside everything else: until the process has as much memory, or no more than a while ago."""
        start, before = time.monotonic(), 0
        while mib and before < (now := self.resident()) < mib * MIB:
            before = now
            time.sleep(0.5)
        # What is there has still to be pinned.
        time.sleep(1 if mib else 0)
        return time.monotonic() - start

    def end(self):
        self.job.end()
        self.caller.end()


class Nvml:
    """Bytes that are used of the card, as its management library says."""

    def __init__(self):
        try:
            self.library = ctypes.CDLL("libnvidia-ml.so.1")
            self.device = ctypes.c_void_p()
            failed = self.library.nvmlInit_v2() or self.library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(self.device))
            self.library = None if failed else self.library
        except OSError:
            self.library = None

    def used(self):
        if self.library is None:
            return None
        memory = (ctypes.c_uint64 * 3)()
        return None if self.library.nvmlDeviceGetMemoryInfo(self.device, memory) else memory[2]


def quantile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(part * len(values)))]


def pauses(options, late):
    """A kernel that is paused again and again by us; the driver's lock waits for its end."""
    rows = {}
    for variant in ["driver", "ours"]:
        row = rows[variant] = {}
        try:
            pair = Pair(options, variant)
            row["device"] = pair.job.hello
            # How long a round takes is measured by the last run: those before compile, the second another form of the kernel.
            for _ in range(3):
                pair.job.ask("turn", 1_000_000, options.blocks)
                seconds, _ = pair.job.ask("turned")
            rounds = max(1, int(options.kernel_s / seconds * 1_000_000))
            pair.job.ask("turn", rounds, options.blocks)
            locks, unlocks, running = [], [], 0
            wanted = 1 if variant == "driver" else options.pauses
            while len(locks) < wanted and not late():
                # What is paused after the kernel's end shows nothing.
                if running > options.kernel_s * 0.7:
                    row.setdefault("runs", []).append(pair.job.ask("turned"))
                    pair.job.ask("turn", rounds, options.blocks)
                    running = 0
                sleep = random.uniform(0.005, 0.02)
                time.sleep(sleep)
                running += sleep
                locks.append(pair.call("Lock"))
                unlocks.append(pair.call("Unlock"))
            row.setdefault("runs", []).append(pair.job.ask("turned"))
            row.update(lock_ms=locks, unlock_ms=unlocks, kernel_s=seconds * rounds / 1_000_000, right=all(run[1] for run in row["runs"]))
            pair.end()
        except (RuntimeError, OSError) as error:
            row["error"] = str(error)
        print(f"pauses {variant}: {summary_of_pauses(row)}", flush=True)
    return rows


def summary_of_pauses(row):
    if "error" in row:
        return row["error"]
    locks = row["lock_ms"]
    if not locks:
        return "no time was left"
    later = locks[1:] or locks
    text = f"{len(locks)} pauses of a kernel of {row['kernel_s']:.2f} s: p50 {quantile(later, 0.5):.3f} ms, p99 {quantile(later, 0.99):.3f} ms"
    text += f", most {max(later):.3f} ms, the first {locks[0]:.3f} ms; going on {statistics.median(row['unlock_ms']):.3f} ms"
    return text + ("" if row["right"] else "; WRONG RESULTS")


def checkpoint(pair, nvml, expected, row):
    """A job is set aside and put back; milliseconds of each step, and what the card has meanwhile."""
    step = {"used_before": nvml.used(), "lock_ms": pair.call("Lock")}
    step["checkpoint_ms"] = pair.call("Checkpoint")
    step["used_meanwhile"] = nvml.used()
    step["restore_ms"] = pair.call("Restore")
    step["used_after"] = nvml.used()
    step["unlock_ms"] = pair.call("Unlock")
    step["right"] = pair.job.ask("sum") == expected
    row.append(step)
    return step


def migrate(options, *arguments):
    with tempfile.TemporaryDirectory() as folder:
        command = pathlib.Path(folder) / "hetgpu-migrate"
        command.symlink_to(options.hetgpu.resolve())
        run = subprocess.run(
            [str(command), *map(str, arguments), "--json"],
            env=environment(options.ours, HETGPU_DEVICE="cpu"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE_S,
        )
    lines = run.stdout.decode().strip().splitlines()
    if run.returncode or not lines:
        raise RuntimeError(f"{' '.join(map(str, arguments))}: {run.stderr.decode(errors='replace').strip()[-300:]}")
    return json.loads(lines[-1])


def saves(options, pair, row):
    """What is on the job's devices is written while it goes on: all of it, and then what changed since, a hundredth each time. The last one is
    put back after more has changed."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        before = None
        for number in range(1 + options.rounds):
            if before:
                pair.job.ask("touch", 100 + number)
            expected = pair.job.ask("sum")
            path = pathlib.Path(folder) / str(number)
            more = ["--base", before] if before else []
            saved = migrate(options, "checkpoint", pair.pid, "-o", path, "--gpu-only", "--leave-running", *more)
            row.append({"built_on_another": bool(before), **saved, "right": pair.job.ask("sum") == expected})
            before = path
        pair.job.ask("touch", 99)
        migrate(options, "restore", before, "--rewind")
        row[-1]["right"] = row[-1]["right"] and pair.job.ask("sum") == expected


def checkpoints(options, late):
    nvml, results = Nvml(), []
    variants = ["driver"] + [f"ours, arena {arena}" for arena in options.arena.split(",") if arena]
    for mib in [float(size) for size in options.sizes.split(",")]:
        size = int(mib * MIB)
        result = {"bytes": size, "variants": {}}
        results.append(result)
        for variant in variants:
            row = result["variants"][variant] = {"checkpoints": [], "dirty": [], "saves": []}
            if late():
                row["left_out"] = True
                continue
            pair = None
            try:
                arena = int(mib) + 68 if variant.endswith("ahead") else 0
                pair = Pair(options, variant.split(",")[0], arena)
                row["device"] = pair.job.hello
                pair.job.ask("make", size)
                if variant == "driver":
                    result["peak_gb_s"] = pair.job.ask("peak")
                row["arena_s"] = pair.wait_for_arena(arena)
                expected = pair.job.ask("sum")
                rounds = options.driver_rounds if variant == "driver" else options.rounds
                for _ in range(rounds):
                    checkpoint(pair, nvml, expected, row["checkpoints"])
                    if late():
                        break
                if variant != "driver" and not late():
                    pair.job.ask("touch", 2)
                    checkpoint(pair, nvml, pair.job.ask("sum"), row["dirty"])
                if variant != "driver" and options.hetgpu and options.folder and not late():
                    saves(options, pair, row["saves"])
                if variant != "driver" and options.hetgpu and not late():
                    expected = pair.job.ask("sum")
                    row["moves"] = []
                    for to in ["cpu", options.device]:
                        moved = migrate(options, "move", pair.pid, "--to", to)
                        # Much memory takes the CPU long, and is looked at when it is back.
                        checked = to != "cpu" or size <= 2048 * MIB
                        row["moves"].append({"to": to, **moved, "right": not checked or pair.job.ask("sum") == expected})
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                row["error"] = str(error)
            finally:
                if pair:
                    pair.end()
            print(f"checkpoints {mib:g} MiB {variant}: {summary_of_checkpoints(size, result, row)}", flush=True)
    return results


def middle(row, key):
    return statistics.median(step[key] for step in row["checkpoints"])


def freezes(row):
    """How long a job stands still that is saved and goes on: all of it, and what changed since the snapshot before."""
    by_kind = [[save["freeze_ms"] for save in row.get("saves", []) if save["built_on_another"] == built] for built in [False, True]]
    return [statistics.median(all_of) if all_of else None for all_of in by_kind]


def rate(size, ms):
    return size / ms / 1e6


def summary_of_checkpoints(size, result, row):
    parts = []
    if row["checkpoints"]:
        for name in ["checkpoint", "restore"]:
            ms = middle(row, f"{name}_ms")
            parts.append(f"{name} {ms:.1f} ms ({rate(size, ms):.1f} GB/s)")
        freed = [step["used_before"] - step["used_meanwhile"] for step in row["checkpoints"] if step["used_meanwhile"] is not None]
        parts += [f"{min(freed) / MIB:.0f} MiB freed"] if freed else []
    for what, ms in zip(["all", "a hundredth"], freezes(row)):
        parts += [f"{what} saved in {ms:.1f} ms"] if ms else []
    for move in row.get("moves", []):
        parts.append(f"to {move['to']} {move['freeze_ms']:.1f} ms")
    if "peak_gb_s" in result:
        parts.append("peak {:.1f} out, {:.1f} in".format(*result["peak_gb_s"]))
    wrong = [step for kind in ["checkpoints", "dirty", "saves", "moves"] for step in row.get(kind, []) if not step["right"]]
    parts += ["WRONG CONTENTS"] if wrong else []
    parts += ["no time was left"] if "left_out" in row else []
    return "; ".join(parts + ([row["error"]] if "error" in row else []))


def is_right(raw):
    """Whether all that was tried was done, and nothing was lost."""
    rows = list(raw.get("pauses", {}).get("rows", {}).values())
    good = all("error" not in row and row["right"] for row in rows)
    for result in raw.get("checkpoints", {}).get("rows", []):
        for row in result["variants"].values():
            steps = row["checkpoints"] + row["dirty"] + row.get("saves", []) + row.get("moves", [])
            good = good and "error" not in row and all(step["right"] for step in steps)
    return good


def page(raw):
    lines = ["# Pauses and checkpoints on a card", "", "Made by `bench/nvidia/checkpoints.py`. `driver` is a job that the card's driver itself saves; the peak is that of copies to pinned memory.",
             "Saved and left running: how long a job stands still while what is on the card is written to a file, and when another such file is built on", "that and a hundredth of its memory has changed since, 64 KiB at a time.", ""]
    if "pauses" in raw:
        lines += [f"{raw['pauses']['card']}, {raw['pauses']['date']}", ""]
        lines += [f"- {name}: {summary_of_pauses(row)}" for name, row in raw["pauses"]["rows"].items()] + [""]
    if "checkpoints" in raw:
        lines += [f"{raw['checkpoints']['card']}, {raw['checkpoints']['date']}", ""]
        lines += ["| job | by | checkpoint | part of the peak | restore | part of the peak | freed | times the driver's | saved and left running | with 1 % changed | to the CPU | back |", "|---|---|---|---|---|---|---|---|---|---|---|---|"]
        for result in raw["checkpoints"]["rows"]:
            peak = result.get("peak_gb_s")
            native = result["variants"].get("driver", {"checkpoints": []})
            for name, row in result["variants"].items():
                cells = [f"{result['bytes'] / MIB:g} MiB", name]
                if row["checkpoints"]:
                    for way, key in enumerate(["checkpoint_ms", "restore_ms"]):
                        ms = middle(row, key)
                        cells.append(f"{ms:.1f} ms")
                        cells.append(f"{rate(result['bytes'], ms) / peak[way]:.2f}" if peak else "")
                    first = row["checkpoints"][0]
                    known = first["used_meanwhile"] is not None
                    cells.append(f"{(first['used_before'] - first['used_meanwhile']) / MIB:.0f} MiB" if known else "")
                    times = [middle(native, key) / middle(row, key) for key in ["checkpoint_ms", "restore_ms"]] if native["checkpoints"] else []
                    cells.append(", ".join(f"{value:.1f}" for value in times))
                else:
                    cells += [row.get("error", "not tried")] + [""] * 5
                cells += [f"{ms:.1f} ms" if ms else "" for ms in freezes(row)]
                moves = row.get("moves", [])
                cells += [f"{move['freeze_ms']:.1f} ms" for move in moves] + [""] * (2 - len(moves))
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main():
    options = arguments()
    begun = time.monotonic()
    raw = json.loads(options.out.read_text()) if options.out.exists() else {}
    for mode in options.modes:
        rows = {"pauses": pauses, "checkpoints": checkpoints}[mode](options, lambda: time.monotonic() - begun > options.seconds)
        raw[mode] = {"rows": rows, "card": card(), "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")}
        options.out.write_text(json.dumps(raw, indent=1) + "\n")
    print(f"written to {options.out} after {time.monotonic() - begun:.1f} s", flush=True)
    if options.page:
        options.page.write_text(page(raw))
    sys.exit(0 if is_right({mode: raw[mode] for mode in options.modes}) else 1)


if __name__ == "__main__":
    if sys.argv[1:] == ["--subject"]:
        subject()
    elif sys.argv[1:] == ["--control"]:
        control()
    else:
        main()
