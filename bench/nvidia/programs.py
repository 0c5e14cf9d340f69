#!/usr/bin/env python3
"""Whole programs on a card, by its driver itself and behind our library: what a step of each takes, and how long it takes to the first.

    programs.py --ours FOLDER --out RAW.json [--page PAGE.md] [FLAGS]

FOLDER holds our library as libcuda.so.1. Each program runs as a process of its own, by both libraries in turn, and says what it
computed, which must be the same. What is not installed is named with the reason, as is what fails. Needs Python and what the programs need.
"""
import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

from run import card, environment

PATIENCE_S = 240
# Of what a program computes: sums of floats may be added in another order from run to run.
TOLERANCE = 1e-2
SAMPLES = 9


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", type=pathlib.Path, required=True, help="folder with our libcuda.so.1")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--page", type=pathlib.Path, help="where a table is written")
    parser.add_argument("--device", default="nvidia", help="our library's device")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each library")
    parser.add_argument("--only", default="", help="programs with this in their names")
    parser.add_argument("--seconds", type=float, default=400, help="after so long nothing new is begun")
    return parser.parse_args()


# The programs: each gives what makes a step, what waits for all steps, what tells the result, and steps of a sample.


def torch_layers():
    """PyTorch, eager: a step of Adam on a perceptron of four layers."""
    import torch

    torch.manual_seed(1)
    layers = [torch.nn.Linear(1024, 2048), torch.nn.GELU()]
    layers += [torch.nn.Linear(2048, 2048), torch.nn.GELU()] * 2 + [torch.nn.Linear(2048, 10)]
    model = torch.nn.Sequential(*layers).cuda()
    return torch_training(model, torch.randn(256, 1024).cuda(), torch.randint(0, 10, (256,)).cuda())


def torch_images():
    """PyTorch, eager: a step of SGD on convolutions over 64 images."""
    import torch

    torch.manual_seed(2)
    torch.backends.cudnn.deterministic = True
    layers = []
    for before, behind in [(3, 64), (64, 128), (128, 256)]:
        layers += [torch.nn.Conv2d(before, behind, 3, padding=1), torch.nn.BatchNorm2d(behind), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    model = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(256 * 8 * 8, 10)).cuda()
    return torch_training(model, torch.randn(64, 3, 64, 64).cuda(), torch.randint(0, 10, (64,)).cuda(), torch.optim.SGD)


def torch_transformer():
    """PyTorch, eager: a step of Adam on two transformer blocks in bfloat16."""
    import torch

    torch.manual_seed(3)
    layer = torch.nn.TransformerEncoderLayer(512, 8, 2048, dropout=0, batch_first=True)
    model = torch.nn.Sequential(torch.nn.TransformerEncoder(layer, 2), torch.nn.Flatten(), torch.nn.Linear(512 * 128, 10))
    model = model.cuda().bfloat16()
    return torch_training(model, torch.randn(16, 128, 512).cuda().bfloat16(), torch.randint(0, 10, (16,)).cuda())


def torch_training(model, inputs, wanted, optimizer=None):
    import torch

    optimizer = (optimizer or torch.optim.Adam)(model.parameters(), 1e-4)
    losses = []

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs).float(), wanted)
        loss.backward()
        optimizer.step()
        losses[:] = [loss]

    return step, torch.cuda.synchronize, lambda: [float(losses[0])], 20


def torch_compiled():
    """PyTorch, compiled by way of Triton: a normalised softmax of a product."""
    import torch

    torch.manual_seed(4)
    a, b = torch.randn(1024, 1024).cuda(), torch.randn(1024, 1024).cuda()
    results = []

    @torch.compile
    def compiled(a, b):
        return torch.softmax(torch.nn.functional.layer_norm(a @ b, (1024,)) * 2, 1)

    def step():
        results[:] = [compiled(a, b)]

    return step, torch.cuda.synchronize, lambda: [float(results[0].max()), float(results[0].std())], 50


def triton_softmax():
    """A softmax of rows, written in Triton."""
    import torch
    import triton
    import triton.language as tl

    @triton.jit
    def softmax(out, rows, columns, width: tl.constexpr):
        row = tl.program_id(0)
        places = tl.arange(0, width)
        inside = places < columns
        values = tl.load(rows + row * columns + places, mask=inside, other=-float("inf"))
        values = tl.exp(values - tl.max(values, 0))
        tl.store(out + row * columns + places, values / tl.sum(values, 0), mask=inside)

    torch.manual_seed(5)
    rows = torch.randn(8192, 2000).cuda()
    out = torch.empty_like(rows)
    step = lambda: softmax[(8192,)](out, rows, 2000, width=2048)
    return step, torch.cuda.synchronize, lambda: [float(out.max()), float(out.std()), float((out - torch.softmax(rows, 1)).abs().max())], 50


def cupy_physics():
    """CuPy: a step of particles that attract each other, by elementwise kernels and sums."""
    import cupy

    random = cupy.random.RandomState(6)
    places, speeds = random.rand(1024, 3, dtype=cupy.float32), cupy.zeros((1024, 3), cupy.float32)

    def step():
        apart = places[None, :, :] - places[:, None, :]
        squares = (apart * apart).sum(2) + cupy.float32(0.01)
        speeds[...] += (apart / (squares * cupy.sqrt(squares))[:, :, None]).sum(1) * cupy.float32(1e-6)
        places[...] += speeds

    return step, cupy.cuda.runtime.deviceSynchronize, lambda: [float(places.sum()), float(cupy.abs(speeds).sum())], 20


def cupy_numbers():
    """CuPy: a matrix product, a sort and a sum, by cuBLAS, Thrust and CUB."""
    import cupy

    a = cupy.random.RandomState(7).rand(1024, 1024, dtype=cupy.float32)
    results = []

    def step():
        results[:] = [cupy.sort((a @ a).ravel())[::1024].sum()]

    return step, cupy.cuda.runtime.deviceSynchronize, lambda: [float(results[0])], 20


def jax_training():
    """JAX, compiled by XLA: a step of a perceptron's training."""
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    import jax
    import jax.numpy as jnp

    keys = jax.random.split(jax.random.PRNGKey(8), 4)
    weights = [jax.random.normal(key, shape) * 0.03 for key, shape in zip(keys, [(512, 1024), (1024, 1024), (1024, 10)])]
    inputs, wanted = jax.random.normal(keys[3], (256, 512)), jnp.arange(256) % 10
    state = {"weights": weights}

    def loss(weights):
        hidden = jnp.tanh(jnp.tanh(inputs @ weights[0]) @ weights[1])
        return -jnp.take_along_axis(jax.nn.log_softmax(hidden @ weights[2]), wanted[:, None], 1).mean()

    update = jax.jit(lambda weights: [w - 0.01 * g for w, g in zip(weights, jax.grad(loss)(weights))])

    def step():
        state["weights"] = update(state["weights"])

    return step, lambda: jax.block_until_ready(state["weights"]), lambda: [float(loss(state["weights"]))], 50


def numba_steps():
    """Numba: a kernel over a million numbers."""
    import numpy
    from numba import cuda

    @cuda.jit
    def kernel(numbers):
        i = cuda.grid(1)
        if i < numbers.size:
            numbers[i] = numbers[i] * 0.999 + 0.5

    numbers = cuda.to_device(numpy.arange(1 << 20, dtype=numpy.float32))
    return lambda: kernel[4096, 256](numbers), cuda.synchronize, lambda: [float(numbers.copy_to_host().astype("f8").sum())], 50


PROGRAMS = [torch_layers, torch_images, torch_transformer, torch_compiled, triton_softmax, cupy_physics, cupy_numbers, jax_training, numba_steps]


def subject(name):
    """Runs a program in this process, and prints what came of it."""
    begun = time.perf_counter()
    step, wait, result, count = next(program for program in PROGRAMS if program.__name__ == name)()
    step()
    wait()
    first = time.perf_counter() - begun
    for _ in range(count):
        step()
    wait()
    samples = []
    for _ in range(SAMPLES):
        start = time.perf_counter()
        for _ in range(count):
            step()
        wait()
        samples.append((time.perf_counter() - start) / count * 1e3)
    print(json.dumps({"first_s": first, "step_ms": samples, "result": result()}), flush=True)


def run(name, env):
    command = [sys.executable, str(pathlib.Path(__file__).resolve()), "--subject", name]
    try:
        done = subprocess.run(command, env=env, capture_output=True, timeout=PATIENCE_S, text=True)
    except subprocess.TimeoutExpired:
        return {"error": f"no end within {PATIENCE_S} seconds"}
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines:
        return json.loads(lines[-1])
    return {"error": "; ".join([f"status {done.returncode}"] + done.stderr.strip().splitlines()[-1:])}


def near(first, second):
    pairs = zip(first, second)
    return len(first) == len(second) and all(abs(a - b) <= TOLERANCE * max(1e-3, abs(a)) for a, b in pairs)


def measured(options, program):
    """One program, by both libraries in turn."""
    library = ":".join([str(options.ours.resolve())] + [path for path in [os.environ.get("LD_LIBRARY_PATH")] if path])
    variants = {"native": environment(), "ours": environment(LD_LIBRARY_PATH=library, HETGPU_DEVICE=options.device)}
    row = {"about": program.__doc__, "native": [], "ours": []}
    for turn in range(options.rounds):
        for name in list(variants)[:: 1 if turn % 2 == 0 else -1]:
            answer = run(program.__name__, variants[name])
            if "error" in answer:
                row["error"] = f"{name}: {answer['error']}"
                return row
            row[name].append(answer)
    results = [answer["result"] for name in variants for answer in row[name]]
    row["right"] = all(near(results[0], result) for result in results)
    row["same"] = all(result == results[0] for result in results)
    return row


def middle(row, name, key):
    values = [answer[key] for answer in row[name]]
    return statistics.median(value for part in values for value in (part if isinstance(part, list) else [part]))


def page(raw):
    lines = ["# Whole programs on a card", "", "Made by `bench/nvidia/programs.py`: programs by the card's driver itself and behind our library, in turn; medians. A ratio is the"]
    lines += ["native time by ours. Results are compared; `same` are those that are equal to the last bit.", "", f"{raw['card']}, {raw['date']}", ""]
    lines += ["| program | a step, native | ours | native / ours | to the first step, native | ours | result |", "|---|---:|---:|---:|---:|---:|---|"]
    for name, row in raw["rows"].items():
        if "error" in row:
            lines.append(f"| {name}: {row['about']} | | | | | | not measured: {row['error'].replace('|', '/')} |")
            continue
        native, ours = (middle(row, variant, "step_ms") for variant in ["native", "ours"])
        first = [middle(row, variant, "first_s") for variant in ["native", "ours"]]
        verdict = "same" if row["same"] else "near" if row["right"] else "WRONG"
        cells = [f"{name}: {row['about']}", f"{native:.3f} ms", f"{ours:.3f} ms", f"{native / ours:.2f}", f"{first[0]:.2f} s", f"{first[1]:.2f} s", verdict]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main():
    options = arguments()
    begun = time.monotonic()
    rows = {}
    raw = {"rows": rows, "card": card(), "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")}
    for program in PROGRAMS:
        if options.only in program.__name__ and time.monotonic() - begun < options.seconds:
            rows[program.__name__] = measured(options, program)
            print(program.__name__, rows[program.__name__].get("error", "done"), flush=True)
            options.out.write_text(json.dumps(raw, indent=1) + "\n")
    if options.page:
        options.page.write_text(page(raw))
    print(f"written to {options.out} after {time.monotonic() - begun:.1f} s", flush=True)
    sys.exit(0 if all(row.get("right", True) for row in rows.values()) else 1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--subject"]:
        subject(sys.argv[2])
    else:
        main()
