#!/usr/bin/env python3
"""Runs the benchmark by NVIDIA's own library and by ours in turn, and writes what was measured, undigested.

    run.py MODE... --ours FOLDER --out RAW.json [FLAGS]

MODE: kernels, api, load. FOLDER holds our library as libcuda.so.1. The program is built where it is not there yet.
What the file already holds of other modes is kept. `cargo xtask bench nvidia --report RAW.json` makes the tables of it.
Needs nothing but Python and a compiler for C++, so that it runs where there is no Rust.
"""
import argparse
import datetime
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# How long a subject may take to be made or to be timed once.
PATIENCE_S = 60


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modes", nargs="+", choices=["kernels", "api", "load"])
    parser.add_argument("--ours", type=pathlib.Path, required=True, help="folder with our libcuda.so.1")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / ".build/bench/nvidia")
    parser.add_argument("--rounds", type=int, default=7, help="turns that each variant gets for each subject")
    parser.add_argument("--samples", type=int, default=5, help="samples a turn")
    parser.add_argument("--sample-us", type=float, default=3000, help="about how long a sample of a kernel is")
    parser.add_argument("--seconds", type=float, default=95, help="after so long a mode begins nothing new")
    parser.add_argument("--only", default="", help="subjects with this in their names")
    parser.add_argument("--device", default="nvidia", help="our library's device")
    parser.add_argument("--reference", type=pathlib.Path, help="folder with another libcuda.so.1 instead of the system's")
    parser.add_argument("--tiny", action="store_true", help="sizes for devices that are no GPU")
    return parser.parse_args()


def build(program, ours):
    """Compiles the program if a source is newer than it."""
    sources = sorted(HERE.glob("*.cpp"))
    inputs = sources + [HERE / "bench.h"]
    if program.exists() and all(program.stat().st_mtime > source.stat().st_mtime for source in inputs):
        return
    program.parent.mkdir(parents=True, exist_ok=True)
    nvcc = shutil.which("nvcc")
    named = [os.environ.get("HETGPU_CUDA_TOOLKIT"), os.environ.get("CUDA_HOME"), ROOT / ".build/cuda/toolkit"]
    named += [pathlib.Path(nvcc).resolve().parent.parent] if nvcc else []
    toolkits = [pathlib.Path(folder) for folder in named + ["/usr/local/cuda"] if folder]
    toolkit = next((folder for folder in toolkits if (folder / "include/cuda.h").exists()), None)
    if toolkit is None and nvcc is None:
        sys.exit("no cuda.h: let HETGPU_CUDA_TOOLKIT name a CUDA toolkit")
    # nvcc finds its headers by itself.
    command = ["g++", f"-I{toolkit}/include"] if toolkit else [nvcc]
    # All libraries are the same to the linker: it only has to find the names.
    with tempfile.TemporaryDirectory() as stubs:
        libraries = [toolkit / "lib64/stubs/libcuda.so"] if toolkit else []
        found = next((library for library in libraries + [ours / "libcuda.so.1"] if library.exists()), None)
        if found is None:
            sys.exit(f"no libcuda.so.1 in {ours}")
        (pathlib.Path(stubs) / "libcuda.so").symlink_to(found.resolve())
        command += ["-O2", "-std=c++20", *map(str, sources), f"-L{stubs}", "-lcuda", "-lpthread", "-o", str(program)]
        subprocess.run(command, check=True)


class Variant:
    """The program with one library, as a process that answers."""

    def __init__(self, name, words, environment, pauses=False):
        self.name, self.words, self.environment, self.pauses = name, words, environment, pauses
        self.process = None
        self.hello = None

    def start(self):
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            self.words + ["serve"], env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors
        )
        os.set_blocking(self.process.stdout.fileno(), False)
        self.rest = b""
        self.hello = self.answer()

    def ask(self, line):
        if self.process is None:
            self.start()
        if self.process is None:
            return
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def answer(self):
        """The next line, or why there is none; the process has ended then."""
        until = time.monotonic() + PATIENCE_S
        while b"\n" not in self.rest:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, until - time.monotonic()))
            if not ready:
                return self.end(f"no answer within {PATIENCE_S} seconds")
            part = os.read(self.process.stdout.fileno(), 1 << 16)
            if not part:
                return self.end("ended")
            self.rest += part
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def end(self, why):
        self.process.kill()
        status = self.process.wait()
        self.errors.seek(0)
        text = self.errors.read().decode(errors="replace").strip().splitlines()
        self.process = None
        if status == -signal.SIGKILL:
            return {"error": "; ".join([why] + text[-3:])}
        return {"error": "; ".join([f"{why} with status {status}"] + text[-3:])}

    def stop(self):
        if self.process is not None:
            self.process.stdin.close()
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


def environment(**more):
    """This process's, without what is chosen here."""
    base = {name: value for name, value in os.environ.items() if name not in ("HETGPU_DEVICE", "HETGPU_SUSPEND")}
    base.update(more)
    return base


def native(options, **more):
    env = environment(**more)
    if options.reference:
        # A library of ours in the place of NVIDIA's: to try the benchmark where there is no card.
        env.update({"LD_LIBRARY_PATH": str(options.reference), "HETGPU_DEVICE": options.device})
    return env


def ours(options, **more):
    env = environment(**more)
    paths = [str(options.ours.resolve())] + [path for path in [env.get("LD_LIBRARY_PATH")] if path]
    env.update({"LD_LIBRARY_PATH": ":".join(paths), "HETGPU_DEVICE": options.device})
    return env


def program_words(options):
    words = [str(options.program)]
    words += ["--tiny"] if options.tiny else []
    for folder in [HERE / "kernels", ROOT / "bench/kernels"]:
        words += ["--ptx", str(folder)]
    return words + ["--samples", str(options.samples), "--sample-us", str(options.sample_us)]


def served(options, kind, variants):
    """Each subject by each variant: made by all at once, then timed in turn, forwards and backwards."""
    begun = time.monotonic()
    listed = subprocess.run(variants[0].words + ["list", kind], env=variants[0].environment, check=True, stdout=subprocess.PIPE)
    names = [name for name in listed.stdout.decode().split() if options.only in name]
    for variant in variants:
        variant.start()
        print(f"{variant.name}: {variant.hello}", flush=True)
    devices = {str(variant.hello.get("device")) for variant in variants}
    if len(devices) > 1:
        # Ours on another device would be a comparison of nothing.
        sys.exit(f"not the same device: {', '.join(sorted(devices))}")
    results, left_out = [], []
    for name in names:
        if time.monotonic() - begun > options.seconds:
            left_out.append(name)
            continue
        answers = {}
        for variant in variants:
            variant.ask(f"take {kind} {name}")
        for variant in variants:
            about = variant.answer() if variant.process else {"error": "the program does not start"}
            answers[variant.name] = {"about": about, "rounds": []}
        able = [variant for variant in variants if "error" not in answers[variant.name]["about"]]
        for turn in range(options.rounds):
            for variant in able if turn % 2 == 0 else able[::-1]:
                if variant.process is None:
                    continue
                variant.ask("time")
                answer = variant.answer()
                if "error" in answer:
                    answers[variant.name]["about"]["error"] = answer["error"]
                else:
                    answers[variant.name]["rounds"].append(answer["us"])
        for variant in able:
            if variant.pauses and variant.process is not None:
                variant.ask("pause")
                answer = variant.answer()
                if "error" in answer:
                    answers[variant.name]["about"]["error"] = answer["error"]
                else:
                    answers[variant.name]["pauses"] = answer["us"]
        results.append({"name": name, "variants": answers})
        print_row(name, answers)
    for variant in variants:
        variant.stop()
    return {
        "subjects": results,
        "left_out": left_out,
        "devices": {variant.name: variant.hello for variant in variants},
        "seconds": round(time.monotonic() - begun, 1),
    }


def middle(values):
    values = sorted(values)
    return values[len(values) // 2] if values else float("nan")


def print_row(name, answers):
    times = {variant: middle([middle(turn) for turn in answer["rounds"]]) for variant, answer in answers.items()}
    base = times.get("native", float("nan"))
    cells = [f"{variant} {us:10.2f} us {base / us if us else 0:6.3f}" for variant, us in times.items()]
    sums = {answer["about"].get("checksum") for answer in answers.values()}
    notes = [answer["about"][key] for answer in answers.values() for key in ("error", "wrong") if answer["about"].get(key)]
    notes += ["results differ"] if len(sums) > 1 else []
    print(f"{name:24}", "  ".join(cells), *notes[:2], flush=True)


def loads(options):
    """Each PTX of the suite by the driver and by us, with caches that are empty and then with what the first run left."""
    begun = time.monotonic()
    rounds = []
    for turn in range(options.rounds):
        if time.monotonic() - begun > options.seconds:
            break
        both = [("native", native), ("ours", ours)]
        for name, make in both if turn % 2 == 0 else both[::-1]:
            caches = tempfile.mkdtemp()
            # The driver's cache, which serves us too, and our own.
            env = make(options, CUDA_CACHE_PATH=f"{caches}/driver", XDG_CACHE_HOME=f"{caches}/ours")
            for state in ["cold", "warm"]:
                run = subprocess.run(program_words(options) + ["load"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                lines = [json.loads(line) for line in run.stdout.decode().splitlines()]
                error = run.stderr.decode(errors="replace").strip()[-400:] if run.returncode else ""
                rounds.append({"turn": turn, "variant": name, "cache": state, "modules": lines, "error": error})
                total = sum(line["total_us"] for line in lines)
                print(f"load {turn} {name} {state}: {len(lines)} modules in {total / 1e3:.1f} ms {error}", flush=True)
            shutil.rmtree(caches, ignore_errors=True)
    return {"runs": rounds, "seconds": round(time.monotonic() - begun, 1)}


def card():
    try:
        query = ["nvidia-smi", "--query-gpu=name,driver_version,clocks.sm,clocks.mem", "--format=csv,noheader"]
        return subprocess.run(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode().strip()
    except OSError:
        return ""


def main():
    options = arguments()
    build(options.program, options.ours)
    raw = json.loads(options.out.read_text()) if options.out.exists() else {}
    for mode in options.modes:
        words = program_words(options)
        if mode == "kernels":
            result = served(options, mode, [
                Variant("native", words, native(options)),
                Variant("plain", words, ours(options, HETGPU_SUSPEND="never")),
                Variant("ours", words, ours(options), pauses=True),
                Variant("suspendable", words, ours(options, HETGPU_SUSPEND="always")),
            ])
        elif mode == "api":
            result = served(options, mode, [Variant("native", words, native(options)), Variant("ours", words, ours(options))])
        else:
            result = loads(options)
        result["date"] = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
        result["card"] = card()
        raw[mode] = result
        options.out.write_text(json.dumps(raw, indent=1) + "\n")
        print(f"{mode}: {result['seconds']} s, written to {options.out}", flush=True)


if __name__ == "__main__":
    main()
