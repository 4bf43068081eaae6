#!/usr/bin/env python3
"""The same model for every family of processors that codegen/targets.def knows gives the same predictions: AVX-512, AVX2 and
the generic 128-bit unit run here where the processor can, NEON under qemu. The model has convolutions, matrix products
and a softmax (an exponential). With policy mixed_bfloat16 the processors that add up products of pairs do so, in tiles that
stay in registers, and agree with the others within bfloat16's rounding. Arithmetic on float16 itself gives the numbers of
float32 rounded to float16, bit by bit."""
import json
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "train"))
from program import MODELS, ROOT, Checks, compile_model, folder, run

check = Checks()
tfcc = sys.argv[1]
TOOLS = "aarch64-linux-gnu-gcc", "qemu-aarch64"
for tool in TOOLS:
    if not shutil.which(tool):
        sys.exit(f"{tool} is missing: scripts/install-dependencies test installs it")
model, weights = MODELS / "digits_cnn.json", MODELS / "reference" / "digits_cnn.weights.h5"
x = np.load(MODELS / "digits_test.npz")["x"][:37].astype("float32")
flags = set(Path("/proc/cpuinfo").read_text().split("flags", 1)[1].splitlines()[0].split())


def close(name, got, want, most=2e-6):
    check(got.shape == want.shape and np.abs(got - want).max() < most, f"{name}: predictions differ by {np.abs(got - want).max()}")


def predictions(work, cpu, *arguments):
    program = compile_model(tfcc, model, work / cpu, "--mcpu", cpu, *arguments)
    run(program, "predict", "--data", work / "x.npz", "--weights", weights, "--output", work / "p.npz")
    return np.load(work / "p.npz")["y"]


def assembly(work, *arguments):
    run(tfcc, "compile", model, "-o", work / "code.s", "--emit", "asm", *arguments)
    return (work / "code.s").read_text()


def check_tiles(name, code, instruction, spill):
    """Every tile of pairs consists of the instruction and leaves no vector on the stack in its loop."""
    tiles = re.findall(r"^\w*tile_\w*pairs_\d+:(.*?)\.size", code, re.S | re.M)
    check(tiles, f"{name}: there are tiles of pairs")
    for tile in tiles:
        turns = [b for b in re.split(r"^\.\w+:", tile, flags=re.M) if instruction in b]
        check(turns, f"{name}: a tile has {instruction}")
        check(not any(re.search(spill, b) for b in turns), f"{name}: a vector lies on the stack")


def weights_of_model():
    with h5py.File(weights) as f:
        for layer in ("conv2d", "conv2d_1", "dense", "dense_1"):
            for i in range(2):
                yield np.asarray(f[f"layers/{layer}/vars/{i}"]).tobytes()


def layer(name, **config):
    return {"class_name": name, "config": {"name": config.get("activation", name).lower(), **config}}


def sequential(work, name, width, *layers):
    layers = [layer("InputLayer", batch_shape=[None, width], dtype="float32"), *layers]
    path = work / f"{name}.json"
    path.write_text(json.dumps({"class_name": "Sequential", "config": {"name": name, "layers": layers}}))
    return path


def elementwise(work):
    """A model without weights: sums, products and quotients of float16, one after another."""
    return sequential(work, "elementwise", 64, *[layer("Activation", activation=a)
                                                 for a in ("gelu", "softsign", "hard_silu", "tanh_shrink", "squareplus")])


def check_products(work, cpu, rows, columns):
    """One product, element by element: sums of float32, rounded once."""
    def rounded(a):
        bits = np.ascontiguousarray(a, "float32").view("uint32")
        return ((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000).view("float32")

    random = np.random.default_rng(rows)
    a, b = rounded(random.normal(size=(37, rows))), rounded(random.normal(size=(rows, columns)))
    source = sequential(work, "product", rows, layer("Dense", units=columns, use_bias=False))
    got = emulated(work, cpu, "--policy", "mixed_bfloat16", dtype="uint16", source=source, given=a, stored=lambda: [b.tobytes()])
    want = a.astype("float64") @ b
    error = np.abs((got.astype("uint32") << 16).view("float32") - want) - np.abs(want) * 2.0**-8
    check(error.max() < 1e-5, f"{cpu}: a product of {rows} positions is off by {error.max()}")


def attend(work, steps, width):
    """Causal attention of steps to themselves, and what it is in NumPy."""
    tensor = {"class_name": "__keras_tensor__", "config": {"shape": [None, steps, width], "dtype": "float32", "keras_history": ["x", 0, 0]}}
    layers = [{"class_name": "InputLayer", "name": "x", "inbound_nodes": [],
               "config": {"name": "x", "batch_shape": [None, steps, width], "dtype": "float32"}},
              {"class_name": "Attention", "name": "y", "config": {"name": "y"},
               "inbound_nodes": [{"args": [[tensor, tensor]], "kwargs": {"use_causal_mask": True}}]}]
    config = {"name": "m", "layers": layers, "input_layers": [["x", 0, 0]], "output_layers": [["y", 0, 0]]}
    path = work / "attend.json"
    path.write_text(json.dumps({"class_name": "Functional", "config": config}))
    given = np.random.default_rng(1).normal(size=(3, steps, width)).astype("float32")
    scores = np.where(np.tri(steps, dtype=bool), given @ given.transpose(0, 2, 1), -1e9)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return path, given, (weights / weights.sum(-1, keepdims=True) @ given).reshape(3, -1)


def emulated(work, cpu="generic", *arguments, dtype="float32", source=model, given=x, stored=weights_of_model):
    run(tfcc, "compile", source, "-o", work / "arm.o", "--emit", "obj", "--triple", "aarch64-linux-gnu", "--mcpu", cpu,
        *arguments)
    run(TOOLS[0], "-O1", "-static", "-I", ROOT / "runtime/include", ROOT / "tests/codegen/cross_driver.c", work / "arm.o",
        "-o", work / "arm", "-lm")
    (work / "in").write_bytes(b"".join([struct.pack("<q", len(given)), given.tobytes(), *stored()]))
    with open(work / "in", "rb") as i, open(work / "out", "wb") as o:
        check(subprocess.run([TOOLS[1], "-cpu", "max", work / "arm"], stdin=i, stdout=o, timeout=300).returncode == 0, "aarch64 program failed")
    return np.frombuffer((work / "out").read_bytes(), dtype).reshape(len(given), -1)


with folder() as work:
    work = Path(work)
    np.savez(work / "x.npz", x=x)
    want = predictions(work, "x86-64")
    check(np.abs(want.sum(1) - 1).max() < 1e-5, "a softmax sums to 1")
    for cpu, needs in (("x86-64-v3", {"avx2", "fma"}), ("x86-64-v4", {"avx512f", "avx512vl", "avx512bw", "avx512dq"})):
        if needs <= flags:
            close(cpu, predictions(work, cpu), want)
    close("aarch64", emulated(work), want)

    source, given, attended = attend(work, 300, 21)
    close("attention on aarch64", emulated(work, source=source, given=given, stored=tuple), attended)

    short = ("--policy", "mixed_bfloat16")
    rounded = predictions(work, "x86-64", *short)
    close("bfloat16", rounded, want, 0.02)
    if {"avx512f", "avx512vl", "avx512bw", "avx512dq", "avx512_bf16"} <= flags:
        close("cooperlake", predictions(work, "cooperlake", *short), rounded, 0.01)
    arm = emulated(work, "neoverse-n2", *short, dtype="uint16")
    close("neoverse-n2", (arm.astype("uint32") << 16).view("float32"), rounded, 0.01)
    for rows, columns in ((45, 67), (46, 12), (64, 40), (1501, 13), (2048, 24)):
        check_products(work, "neoverse-n2", rows, columns)
    for cpu in ("cooperlake", "znver4", "sapphirerapids"):
        check_tiles(cpu, assembly(work, "--mcpu", cpu, *short), "vdpbf16ps", r"zmm.*\(%[re]sp|\(%[re]sp.*zmm")
    code = assembly(work, "--triple", "aarch64-linux-gnu", "--mcpu", "neoverse-n2", *short)
    check_tiles("neoverse-n2", code, "bfmmla", r"\b[qv]\d+.*\[sp")
    numbers = np.concatenate([np.linspace(-6, 6, 6400), np.geomspace(1e-7, 6e4, 3200), -np.geomspace(1e-7, 6e4, 3200)])
    half = {"dtype": "uint16", "source": elementwise(work), "given": numbers.astype("float32").reshape(-1, 64), "stored": tuple}
    wide = emulated(work, "cortex-a72", "--policy", "float16", **half)
    for cpu in ("neoverse-n1", "neoverse-n2"):
        check((emulated(work, cpu, "--policy", "float16", **half) == wide).all(), f"{cpu}: float16 differs")
    code = assembly(work, "--mcpu", "sapphirerapids", "--policy", "mixed_float16")
    check("vaddph" in code and "vcvtph2psx" in code, "sapphirerapids adds float16 by itself")
    check(not re.search(r"vf\w*[0-9]ph", code), "sapphirerapids rounds products of float16 before it adds them")
    def explained(source, cpu, policy):
        return run(tfcc, "compile", source, "-o", work / "x.o", "--emit", "obj", "--mcpu", cpu, "--policy", policy, "--explain", "precision").stdout

    text = explained(model, "cooperlake", "mixed_bfloat16")
    check("(products of pairs, summed in float32)" in text and "warning" not in text, f"cooperlake: --explain precision: {text}")
    check("products of pairs" not in explained(model, "x86-64-v3", "mixed_bfloat16"), "x86-64-v3: --explain precision")
    text = explained(elementwise(work), "cooperlake", "bfloat16")
    check("gelu: warning: bfloat16 is expected to be slower than float32 here" in text, f"gelu: --explain precision: {text}")
    check("float32's convolutions have Winograd's form" in explained(model, "x86-64-v3", "mixed_bfloat16"), "x86-64-v3: slower")
    check("has no instructions" in explained(model, "x86-64", "mixed_float16"), "x86-64: --explain precision")
    check("vdpbf16ps" not in assembly(work, "--mcpu", "x86-64-v4", *short), "x86-64-v4 has no products of pairs")
check.report()
