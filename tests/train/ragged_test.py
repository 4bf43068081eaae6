#!/usr/bin/env python3
"""Ragged inputs: rows of different lengths give what the same rows give padded below Masking, in predict and in training, for any
number of threads and any batch; memory follows the values; wrong row splits are refused before anything runs; and the C interface."""
import ctypes
import json
import re
import sys
from pathlib import Path

import numpy as np

from program import Checks, compile_model, folder, functional, layer, read_json, run

check = Checks()
tfcc = sys.argv[1]
ROWS, WIDTH, LONGEST = 23, 3, 40
r = np.random.default_rng(7)
lengths = r.integers(1, 12, ROWS)
lengths[3], lengths[9] = LONGEST, 0
splits = np.concatenate([[0], np.cumsum(lengths)]).astype("int64")
values = r.standard_normal((splits[-1], WIDTH)).astype("float32")
y = r.standard_normal((ROWS, 2)).astype("float32")
padded = np.zeros((ROWS, LONGEST, WIDTH), "float32")
for i in range(ROWS):
    padded[i, : lengths[i]] = values[splits[i] : splits[i + 1]]


def drawn(seed):
    return {"module": "keras.initializers", "class_name": "RandomUniform", "config": {"minval": -0.5, "maxval": 0.5, "seed": seed}}


def cell(kind, name, units, **config):
    return {"module": "keras.layers", "class_name": kind, "registered_name": None,
            "config": {"name": name, "units": units, "go_backwards": False, "kernel_initializer": drawn(1), "recurrent_initializer": drawn(2), **config}}


def recurrent(kind, name, inbound, **config):
    return layer(name, kind, cell(kind, name, 4, **config)["config"], inbound)


def model(ragged, layers):
    shape = [None, None if ragged else LONGEST, WIDTH]
    first = [layer("x", "InputLayer", {"batch_shape": shape, "dtype": "float32", "ragged": ragged})]
    first.append(layer("m", "Identity" if ragged else "Masking", {}, "x"))
    last = layer("dense", "Dense", {"units": 2, "kernel_initializer": drawn(3)}, layers[-1]["name"])
    return json.dumps(functional([*first, *layers, last]))


def results(work, program, data, batch=7, threads=1):
    run(program, "predict", "--data", data, "--output", work / "p.npz", "--batch-size", batch, "--threads", threads)
    run(program, "fit", "--data", data, "--epochs", 3, "--batch-size", 7, "--seed", 5, "--history", work / "h.json", "--threads", threads)
    return np.load(work / "p.npz")["y"], np.array(read_json(work / "h.json")["batch_loss"])


def compare(work, what, *layers):
    options = ("--optimizer", "adam", "--loss", "mse")
    (work / "padded.json").write_text(model(False, layers))
    (work / "ragged.json").write_text(model(True, layers))
    want = results(work, compile_model(tfcc, work / "padded.json", work / "padded", *options), work / "padded.npz")
    program = compile_model(tfcc, work / "ragged.json", work / "ragged", *options)
    got = results(work, program, work / "ragged.npz")
    check(np.abs(got[0] - want[0]).max() < 1e-5, f"{what}: predictions")
    check(np.abs(got[1] - want[1]).max() < 1e-5, f"{what}: losses")
    again = results(work, program, work / "ragged.npz", 7, 3)
    check(all((g == o).all() for g, o in zip(got, again)), f"{what}: other numbers with 3 threads")
    alone = results(work, program, work / "ragged.npz", 1)
    check(np.abs(alone[0] - got[0]).max() < 1e-5, f"{what}: rows one at a time")
    return run(tfcc, "compile", work / "ragged.json", "-o", work / "ragged", "--explain", "layout", *options).stdout


def refusals(work):
    falling, late = splits.copy(), splits.copy()
    falling[4] = falling[5] + 1
    late[0] = 1
    cases = [
        ("falling", {"x.row_splits": falling}, r"row_splits\": expected row splits that never decrease, found \d+ after \d+ at 5"),
        ("late", {"x.row_splits": late}, r"begin with 0, found 1"),
        ("short", {"x.row_splits": splits[:-1]}, rf"the number of values, {splits[-1]}, found {splits[-2]}"),
        ("long", {"x.values": values[:-1]}, rf"the number of values, {splits[-1] - 1}, found {splits[-1]}"),
        ("floats", {"x.row_splits": splits.astype("float32")}, r"expected integers of one dimension"),
        ("matrix", {"x.row_splits": splits[None]}, r"expected integers of one dimension"),
        ("none", {"x.row_splits": None}, r"\"x.row_splits\" is missing"),
        ("no values", {"x.values": None}, r"\"x.values\" is missing"),
        ("empty", {"x.row_splits": splits[:0]}, r"one more than rows"),
        ("wide", {"x.values": np.zeros((splits[-1], WIDTH + 1), "float32")}, r"x.values\": expected shape"),
        ("strings", {"x.values": np.array(["a"])}, r"expected numbers"),
        ("rows", {"y": y[:-1]}, rf"expected {ROWS - 1} rows|expected {ROWS} rows"),
    ]
    for what, change, pattern in cases:
        np.savez(work / "bad.npz", **{k: v for k, v in {"x.values": values, "x.row_splits": splits, "y": y, **change}.items() if v is not None})
        p = run(work / "ragged", "fit", "--data", work / "bad.npz", "--epochs", 1, ok=False)
        check(p.returncode == 1 and re.search(pattern, p.stderr), f"{what}: exit {p.returncode}: {p.stderr.strip()}")


def alike(work):
    """Two inputs that are added have the same rows."""
    inputs = [layer(n, "InputLayer", {"batch_shape": [None, None, WIDTH], "dtype": "float32", "ragged": True}) for n in "ab"]
    rest = [layer("s", "Add", {}, "a", "b"), recurrent("GRU", "g", "s"), layer("dense", "Dense", {"units": 2, "kernel_initializer": drawn(3)}, "g")]
    (work / "two.json").write_text(json.dumps(functional([*inputs, *rest])))
    (work / "one.json").write_text(model(True, [recurrent("GRU", "g", "m")]))
    for name, data in (("one", {"x.values": values}), ("two", {"x.a.values": values * 3, "x.b.values": values * -2, "x.b.row_splits": splits})):
        np.savez(work / f"{name}.npz", **data, **{"x.row_splits" if name == "one" else "x.a.row_splits": splits, "y": y})
    got = [results(work, compile_model(tfcc, work / f"{n}.json", work / n, "--optimizer", "sgd", "--loss", "mse"), work / f"{n}.npz") for n in ("one", "two")]
    check(all(np.abs(a - b).max() < 1e-5 for a, b in zip(*got)), "a sum of two ragged inputs")
    other = np.concatenate([splits[:1], splits[1:2] - 1, splits[2:]])
    np.savez(work / "bad.npz", **{**np.load(work / "two.npz"), "x.b.row_splits": other})
    p = run(work / "two", "predict", "--data", work / "bad.npz", "--output", work / "none.npz", ok=False)
    check(p.returncode == 1 and "expected the same, since the model combines these inputs" in p.stderr, f"other rows: {p.returncode} {p.stderr}")


class View(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("bytes", ctypes.c_size_t)]


def view(a):
    return View(a.ctypes.data, a.nbytes)


def library(work, want):
    compile_model(tfcc, work / "ragged.json", work / "libragged.so", "--emit", "lib", "--shared", "--optimizer", "adam", "--loss", "mse")
    check("RAGGED_INPUT_X_ROW_ENDS = 1" in (work / "ragged.h").read_text(), "the header names the ends of the rows")
    lib = ctypes.CDLL(str(work / "libragged.so"))
    lib.ragged_program.restype = ctypes.c_void_p
    lib.tfcc_error.restype = ctypes.c_char_p
    lib.tfcc_error.argtypes = [ctypes.c_void_p]
    m = ctypes.c_void_p()
    check(lib.tfcc_create(ctypes.c_void_p(lib.ragged_program()), None, ctypes.byref(m)) == 0, "create")

    def predict(first, last, values_from=values):
        part, got = np.ascontiguousarray(values_from[splits[first] : splits[last]]), np.zeros((last - first, 2), "float32")
        ends = splits[first + 1 : last + 1] - splits[first]
        inputs, out = (View * 2)(view(part), view(ends)), view(got)
        code = lib.tfcc_predict(m, ctypes.c_int64(last - first), inputs, ctypes.c_size_t(2), ctypes.byref(out), ctypes.c_size_t(1))
        return code, got

    for first, last in ((0, 2), (0, ROWS), (9, 10), (4, 20)):
        code, got = predict(first, last)
        check(code == 0 and np.abs(got - want[first:last]).max() < 1e-5, f"rows {first} to {last}: {code} {lib.tfcc_error(m)}")
    code, _ = predict(0, 3, values[:2])
    check(code != 0 and b"number of values" in lib.tfcc_error(m), f"too few values: {code} {lib.tfcc_error(m)}")
    lib.tfcc_destroy(m)


with folder() as name:
    work = Path(name)
    np.savez(work / "padded.npz", x=padded, y=y)
    np.savez(work / "ragged.npz", **{"x.values": values, "x.row_splits": splits.astype("int32"), "y": y})
    for kind in ("LSTM", "GRU", "SimpleRNN"):
        compare(work, kind, recurrent(kind, "a", "m"))
    compare(work, "sequences", recurrent("GRU", "a", "m", return_sequences=True), recurrent("LSTM", "b", "a"))
    both = layer("a", "Bidirectional", {"merge_mode": "concat", "layer": cell("LSTM", "l", 4, return_sequences=True)}, "m")
    text = compare(work, "both ways", both, recurrent("GRU", "b", "a"))
    check('"x": stays ragged' in text and "dense" not in text, f"layout: {text}")
    want = np.load(work / "p.npz")["y"]
    refusals(work)
    alike(work)
    library(work, want)
check.report()
