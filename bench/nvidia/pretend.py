#!/usr/bin/env python3
"""What our library adds to calls, and where a card would stand idle, without a card: a driver behind it computes nothing.

    pretend.py --ours FOLDER [--against FOLDER]

FOLDER holds our library as libcuda.so.1; another one is measured in turn with it. `calls` has a driver whose calls take no time: what is left
is ours. `steps` has one whose kernels and calls take as long as on a card. Needs Python, a C compiler and cuda.h.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def headers():
    named = [os.environ.get("HETGPU_CUDA_TOOLKIT"), os.environ.get("CUDA_HOME"), ROOT / ".build/cuda/toolkit", "/usr/local/cuda"]
    found = [pathlib.Path(folder) / "include" for folder in named if folder]
    return next((folder for folder in found if (folder / "cuda.h").exists()), None)


def measure(folder, library, mode):
    environment = dict(os.environ, LD_LIBRARY_PATH=str(library.resolve()), HETGPU_DEVICE="nvidia", HETGPU_LOG="warn")
    environment["HETGPU_VENDOR_DRIVER"] = str(folder / "driver.so")
    if mode == "steps":
        environment["PRETEND_TIME"] = "1"
    run = subprocess.run([folder / "program", mode], env=environment, stdout=subprocess.PIPE, timeout=300)
    if run.returncode:
        sys.exit(f"{library}: {mode} ended with {run.returncode}; what it said stands above")
    return {row["row"]: row for row in map(json.loads, run.stdout.decode().splitlines())}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", type=pathlib.Path, required=True, help="folder with our libcuda.so.1")
    parser.add_argument("--against", type=pathlib.Path, help="folder with another build of it")
    options = parser.parse_args()
    include = headers()
    if include is None:
        sys.exit("no cuda.h: let HETGPU_CUDA_TOOLKIT name a CUDA toolkit")
    libraries = [library for library in [options.against, options.ours] if library]
    with tempfile.TemporaryDirectory() as name:
        folder, compiler = pathlib.Path(name), ["cc", "-O2"]
        subprocess.run(compiler + ["-shared", "-fPIC", "-o", folder / "driver.so", HERE / "pretend/driver.c"], check=True)
        program = ["-I", include, HERE / "pretend/program.c", options.ours / "libcuda.so.1", "-lpthread"]
        subprocess.run(compiler + ["-o", folder / "program"] + program, check=True)
        for mode in ["calls", "steps"]:
            measured = [measure(folder, library, mode) for library in libraries]
            print(f"{mode}, us: " + ", then ".join(f"{library} (first round)" for library in libraries))
            for row in measured[0]:
                print(f"  {row:34}" + "".join(f"{result[row]['us']:10.3f} ({result[row]['first_us']:.3f})" for result in measured))


if __name__ == "__main__":
    main()
