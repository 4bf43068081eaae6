#!/usr/bin/env python3
"""The same model for every family of processors that codegen/targets.def knows gives the same predictions: AVX-512, AVX2 and
the generic 128-bit unit run here where the processor can, NEON under qemu. The model has convolutions, matrix products
and a softmax (an exponential)."""
import shutil
import struct
import sys
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "train"))
from program import MODELS, ROOT, Checks, compile_model, folder, run

check = Checks()
tfcc = sys.argv[1]
model, weights = MODELS / "digits_cnn.json", MODELS / "reference" / "digits_cnn.weights.h5"
x = np.load(MODELS / "digits_test.npz")["x"][:37].astype("float32")
flags = set(Path("/proc/cpuinfo").read_text().split("flags", 1)[1].splitlines()[0].split())


def close(name, got, want):
    check(got.shape == want.shape and np.abs(got - want).max() < 2e-6, f"{name}: predictions differ by {np.abs(got - want).max()}")


def predictions(work, cpu):
    program = compile_model(tfcc, model, work / cpu, "--mcpu", cpu)
    run(program, "predict", "--data", work / "x.npz", "--weights", weights, "--output", work / "p.npz")
    return np.load(work / "p.npz")["y"]


def emulated(work):
    tools = [shutil.which(t) for t in ("aarch64-linux-gnu-gcc", "qemu-aarch64")]
    if None in tools:
        print("skipped: no aarch64 compiler and emulator here")
        return None
    run(tfcc, "compile", model, "-o", work / "arm.o", "--emit", "obj", "--triple", "aarch64-linux-gnu", "--mcpu", "generic")
    run(tools[0], "-O1", "-static", "-I", ROOT / "runtime/include", ROOT / "tests/codegen/cross_driver.c", work / "arm.o",
        "-o", work / "arm", "-lm")
    data = [struct.pack("<q", len(x)), x.tobytes()]
    with h5py.File(weights) as f:
        for layer in ("conv2d", "conv2d_1", "dense", "dense_1"):
            data += [np.asarray(f[f"layers/{layer}/vars/{i}"]).tobytes() for i in range(2)]
    (work / "in").write_bytes(b"".join(data))
    with open(work / "in", "rb") as i, open(work / "out", "wb") as o:
        import subprocess

        check(subprocess.run([tools[1], work / "arm"], stdin=i, stdout=o, timeout=300).returncode == 0, "aarch64 program failed")
    return np.frombuffer((work / "out").read_bytes(), "float32").reshape(len(x), -1)


with folder() as work:
    work = Path(work)
    np.savez(work / "x.npz", x=x)
    want = predictions(work, "x86-64")
    check(np.abs(want.sum(1) - 1).max() < 1e-5, "a softmax sums to 1")
    for cpu, needs in (("x86-64-v3", {"avx2", "fma"}), ("x86-64-v4", {"avx512f", "avx512vl", "avx512bw", "avx512dq"})):
        if needs <= flags:
            close(cpu, predictions(work, cpu), want)
    arm = emulated(work)
    if arm is not None:
        close("aarch64", arm, want)
check.report()
