#!/usr/bin/env python3
"""What users may get wrong: each mistake is refused with a message that names the place, what was expected and what was
found, with the right exit status, and nothing half-written is left behind."""
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np

from program import MODELS, Checks, compile_model, folder, run

check = Checks()
tfcc = sys.argv[1]


def refused(what, argv, status, *patterns, leaves=None, cwd=None):
    p = run(*argv, ok=False, cwd=cwd)
    check(p.returncode == status, f"{what}: exit {p.returncode}, expected {status}: {p.stderr.strip()[:300]}")
    for pattern in patterns:
        check(re.search(pattern, p.stderr), f"{what}: expected /{pattern}/, found: {p.stderr.strip()[:300]}")
    if leaves is not None:
        check(not Path(leaves).exists(), f"{what}: {leaves} was left behind")


def compiler(work):
    model = (MODELS / "digits_cnn.json").read_text()

    def case(name, text, *patterns):
        path = work / f"{name}.json"
        path.write_text(text)
        refused(name, (tfcc, "compile", path, "-o", work / name), 1, *patterns, leaves=work / name)

    case("truncated", model[: len(model) // 2], r"truncated\.json:1:\d+")
    case("empty", "", r"empty\.json")
    case("unknown_layer", model.replace('"MaxPooling2D"', '"MaxPoolin2D"'), r'"MaxPoolin2D"', r'"MaxPooling2D"')
    case("wrong_type", model.replace('"units": 128', '"units": "128"'), r"config\.units", r'Dense "dense', r'"128" \(string\)')
    case("missing", model.replace('"units": 128, ', ""), r"units", r'Dense "dense')
    case("absurd", model.replace('"units": 128', '"units": 1099511627776'), r'Dense "dense')
    case("two", model.replace('"units": 128', '"units": -1').replace('"kernel_size": [3, 3]', '"kernel_size": [3, 0]', 1),
         r"units", r"kernel_size")
    case("unfit", model.replace('"kernel_size": [3, 3]', '"kernel_size": [33, 33]'), r"Conv2D")
    lambda_layer = model.replace('"module": "keras.layers", "class_name": "Flatten"', '"module": "keras.layers", "class_name": "Lambda"')
    case("lambda", lambda_layer, r"Lambda")
    refused("no such model", (tfcc, "compile", work / "none.json", "-o", work / "o"), 1, r"none\.json")
    refused("unknown option", (tfcc, "compile", MODELS / "digits_cnn.json", "-o", work / "o", "--emti", "obj"), 1, r"--emti.*--emit")
    refused("a device", (tfcc, "compile", MODELS / "digits_cnn.json", "-o", "/dev/full"), 2, r"/dev/full")
    refused("a full disk", (tfcc, "compile", MODELS / "digits_cnn.json", "-o", "/dev/full", "--emit", "ir"), 2, r"/dev/full")
    check(not Path("/dev/full").is_file(), "/dev/full was replaced")
    refused("unknown processor", (tfcc, "compile", MODELS / "digits_cnn.json", "-o", work / "o", "--mcpu", "pentium9"), 1,
            r"pentium9", leaves=work / "o")
    refused("unwritable", (tfcc, "compile", MODELS / "digits_cnn.json", "-o", work / "none" / "o"), 2, r"none/o")


def data(work, program):
    good = dict(np.load(MODELS / "digits_train.npz"))
    x, y = good["x"][:64].astype("float32"), good["y"][:64]

    def case(name, patterns, **arrays):
        path = work / f"{name}.npz"
        np.savez(path, **arrays)
        refused(name, (program, "fit", "--data", path, "--epochs", 1, "--save", work / "w.weights.h5"), 1, *patterns, leaves=work / "w.weights.h5")

    case("no_x", [r'"x"'], y=y)
    case("no_y", [r'"y"'], x=x)
    case("unknown_key", [r'"z"'], x=x, y=y, z=y)
    case("lengths", [r"64", r"63"], x=x, y=y[:63])
    case("shape", [r"x", r"8"], x=x[:, :7], y=y)
    case("label_range", [r"y", r"10"], x=x, y=np.where(np.arange(64) == 5, 10, y))
    case("label_negative", [r"y", r"-1"], x=x, y=np.where(np.arange(64) == 5, -1, y).astype("int8"))
    case("strings", [r"x"], x=np.full(x.shape, "a"), y=y)
    case("complex", [r"x"], x=x.astype("complex64"), y=y)
    whole = (work / "shape.npz").read_bytes()
    (work / "cut.npz").write_bytes(whole[: len(whole) // 2])
    refused("cut npz", (program, "fit", "--data", work / "cut.npz"), 1, r"cut\.npz")
    refused("no data", (program, "fit", "--data", work / "none.npz"), 1, r"none\.npz")
    refused("not npz", (program, "fit", "--data", MODELS / "sonnets.txt"), 1, r"sonnets\.txt")
    np.savez(work / "nan.npz", x=np.where(np.arange(64).reshape(-1, 1, 1, 1) == 3, np.nan, x), y=y)
    run(program, "fit", "--data", work / "nan.npz", "--epochs", 1, "--history", work / "nan.json", "--verbose", 0)
    check("NaN" in (work / "nan.json").read_text(), "NaN in the data is trained on, as Keras does")


def weights(work, program):
    train = MODELS / "digits_train.npz"
    w = MODELS / "reference" / "digits_cnn.weights.h5"
    refused("other model's weights", (program, "evaluate", "--data", train, "--weights",
            MODELS / "reference" / "sonnets_transformer.weights.h5"), 1, r"sonnets_transformer\.weights\.h5", r"digits_cnn")
    whole = w.read_bytes()
    (work / "cut.weights.h5").write_bytes(whole[: len(whole) // 3])
    refused("cut weights", (program, "evaluate", "--data", train, "--weights", work / "cut.weights.h5"), 1, r"cut\.weights\.h5")
    with h5py.File(w) as f, h5py.File(work / "shape.weights.h5", "w") as g:
        for name in f:
            f.copy(name, g)
        del g["layers/dense/vars/1"]
        g["layers/dense/vars/1"] = np.zeros(7, "float32")
    draw = random.Random(4)
    for i in range(40):  # the HDF5 library itself fails on some of these
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 30)):
            damaged[draw.randrange(min(len(damaged), 16384) if draw.random() < 0.8 else len(damaged))] = draw.randrange(256)
        (work / "damaged.weights.h5").write_bytes(damaged)
        p = run(program, "evaluate", "--data", train, "--weights", work / "damaged.weights.h5", ok=False)
        check(p.returncode == 0 or (p.returncode == 1 and "damaged.weights.h5" in p.stderr),
              f"damaged weights {i}: exit {p.returncode}: {p.stderr.strip()[:200]}")
    refused("weights of another shape", (program, "evaluate", "--data", train, "--weights", work / "shape.weights.h5"), 1,
            r"layers/dense/vars/1", r"7", r"128")
    refused("output on a full disk", (program, "fit", "--data", train, "--epochs", 1, "--history", "/dev/full"), 2, r"/dev/full")
    refused("weights on a full disk", (program, "fit", "--data", train, "--epochs", 1, "--save", "/dev/full"), 2, r"/dev/full")
    refused("output in no folder", (program, "fit", "--data", train, "--epochs", 1, "--save", work / "none" / "w.weights.h5"), 2, r"none/w\.weights\.h5")
    refused("predictions on a full disk", (program, "predict", "--data", work / "x.npz", "--output", "/dev/full"), 2, r"/dev/full")
    refused("unknown verb", (program, "trian"), 1, r"trian")
    refused("unknown option", (program, "fit", "--data", train, "--epoch", 3), 1, r"--epoch.*--epochs")
    refused("bad number", (program, "fit", "--data", train, "--epochs", "many"), 1, r"--epochs.*many")


def signals(work, program):
    save = work / "interrupted.weights.h5"
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        save.unlink(missing_ok=True)
        p = subprocess.Popen([program, "fit", "--data", MODELS / "digits_train.npz", "--epochs", "100000", "--save", save],
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(1)
        p.send_signal(number)
        p.communicate(timeout=60)
        check(p.returncode == status, f"signal {number}: exit {p.returncode}, expected {status}")
        check(save.exists(), f"signal {number}: the weights were not saved")
        run(program, "evaluate", "--data", MODELS / "digits_test.npz", "--weights", save)
    save.write_bytes(b"old")
    p = subprocess.Popen([program, "fit", "--data", MODELS / "digits_train.npz", "--epochs", "100000", "--save", save],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    p.kill()
    p.wait()
    check(save.read_bytes() == b"old", "killed half way: the old file is gone")


with folder() as work:
    work = Path(work)
    compiler(work)
    program = compile_model(tfcc, MODELS / "digits_cnn.json", work / "digits")
    np.savez(work / "x.npz", x=np.load(MODELS / "digits_test.npz")["x"])
    data(work, program)
    weights(work, program)
    signals(work, program)
check.report()
