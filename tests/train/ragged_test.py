#!/usr/bin/env python3
"""Ragged inputs: rows of different lengths give what the same rows give padded below Masking, in predict and in training, for any
number of threads and any batch; memory follows the values; wrong row splits are refused before anything runs; models whose
output keeps the rows; and the C interface."""
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
        ("dense", {"x.values": None, "x.row_splits": None, "x": padded}, r"\"x\": expected ragged rows"),
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


class Batch(ctypes.Structure):
    _fields_ = [(n, ctypes.c_uint32) for n in ("struct_size", "inputs", "targets", "sample_weights")]
    _fields_ += [("rows", ctypes.c_int64)] + [(n, ctypes.POINTER(View)) for n in ("input", "target", "sample_weight")]


def view(a):
    return View(a.ctypes.data, a.nbytes)


class Library:
    """A model of a shared library, called as C does."""

    def __init__(self, work, name, model, *options):
        compile_model(tfcc, model, work / f"lib{name}.so", "--emit", "lib", "--shared", *options)
        self.lib = ctypes.CDLL(str(work / f"lib{name}.so"))
        self.lib.tfcc_error.restype = ctypes.c_char_p
        program = getattr(self.lib, f"{name}_program")
        program.restype = ctypes.c_void_p
        self.m = ctypes.c_void_p()
        check(self.lib.tfcc_create(ctypes.c_void_p(program()), None, ctypes.byref(self.m)) == 0, f"{name}: create")

    def call(self, name, *arguments):
        return getattr(self.lib, f"tfcc_{name}")(self.m, *arguments)

    def error(self):
        return self.lib.tfcc_error(self.m)

    def batch(self, first, last, y, weight=None, values_from=values):
        """Rows first to last; y: of these rows, or of their values."""
        part = np.ascontiguousarray(values_from[splits[first] : splits[last]])
        ends = splits[first + 1 : last + 1] - splits[first]
        arrays = [np.ascontiguousarray(y), part, ends, weight]
        b = Batch(ctypes.sizeof(Batch), 2, 1, 1, last - first, (View * 2)(view(part), view(ends)), (View * 1)(view(arrays[0])))
        if weight is not None:
            b.sample_weight = (View * 1)(view(weight))
        b.keep = arrays
        return b

    def run(self, name, b, *more):
        loss = ctypes.c_double()
        code = self.call(name, ctypes.byref(b), *more, ctypes.byref(loss))
        return code, loss.value

    def predict(self, first, last, out, values_from=values):
        b = self.batch(first, last, y[:0], None, values_from)
        code = self.call("predict", ctypes.c_int64(last - first), b.input, ctypes.c_size_t(2), ctypes.byref(view(out)), ctypes.c_size_t(1))
        return code, out

    def evaluate(self, b, rows):
        got = (ctypes.c_double * 1)()
        return self.call("evaluate", ctypes.byref(b), ctypes.c_int64(rows), got, ctypes.c_size_t(1)), got[0]

    def variable(self, path, like, call="variable_get"):
        got = np.zeros(like, "float32") if call.endswith("get") else like
        code = self.call(call, path.encode(), ctypes.c_void_p(got.ctypes.data), ctypes.c_size_t(got.nbytes))
        check(code == 0, f"{call} {path}: {self.error()}")
        return got


OPTIONS = ("--optimizer", "adam", "--loss", "mse")


def expected_loss(work, program, data, weights, batch):
    text = run(program, "evaluate", "--data", data, "--weights", weights, "--batch-size", batch, "--json").stdout
    return json.loads(text)["loss"]


def gradient(lib, b, path, shape):
    """The gradient of a weight beside differences of the loss."""
    code, loss = lib.run("gradients", b)
    check(code == 0 and np.isfinite(loss), f"gradients: {code} {lib.error()}")
    got = lib.variable(path, shape, "gradient_get")
    start, step = lib.variable(path, shape), 1e-2
    for place in list(np.ndindex(*shape))[:4]:
        moved = []
        for sign in (1, -1):
            lib.variable(path, np.where([i == place for i in np.ndindex(*shape)], sign * step, 0).reshape(shape).astype("float32") + start, "variable_set")
            moved.append(lib.run("loss", b)[1])
        want = (moved[0] - moved[1]) / (2 * step)
        check(abs(got[place] - want) < 2e-3 * max(1, abs(want)), f"gradient of {path} at {place}: {got[place]}, differences {want}")
    lib.variable(path, start, "variable_set")


def training(work, lib, other, program, data, labels, each):
    """loss, evaluate, gradients, train_step and minimize on ragged rows; `each`: labels of values, not of rows."""
    weights = work / "lib.weights.h5"
    weight = r.uniform(0.5, 1.5, ROWS).astype("float32")

    def batch(first, last, weight=None):
        y = labels[splits[first] : splits[last]] if each else labels[first:last]
        return lib.batch(first, last, y, None if weight is None else weight[first:last])

    for path in (weights,):
        check((lib if path == weights else other).call("weights_save", str(path).encode()) == 0, "weights_save")
    for rows, most in ((ROWS, ROWS), (7, 7)):
        want = expected_loss(work, program, data, weights, most)
        code, got = lib.evaluate(batch(0, ROWS), rows)
        check(code == 0 and abs(got - want) < 1e-5 * max(1, want), f"evaluate by {rows}: {code} {got}, program {want} {lib.error()}")
    code, got = lib.run("loss", batch(0, ROWS))
    check(code == 0 and abs(got - expected_loss(work, program, data, weights, ROWS)) < 1e-5, f"loss: {code} {got}")
    gradient(lib, batch(2, 12, weight), "dense/kernel", (lib.width, 2))
    check(other.call("weights_load", str(weights).encode()) == 0, "weights_load")
    for first, last in ((0, 4), (4, 15), (3, 23), (9, 10)):
        a, b = lib.run("train_step", batch(first, last, weight)), other.run("minimize", batch(first, last, weight))
        check(a[0] == b[0] == 0 and abs(a[1] - b[1]) < 1e-6 * max(1, abs(a[1])), f"rows {first} to {last}: train_step {a}, minimize {b}")
    a, b = (m.variable("dense/kernel", (lib.width, 2)) for m in (lib, other))
    check(np.abs(a - b).max() < 1e-6, f"train_step and minimize: {np.abs(a - b).max()}")
    return batch


def library(work, want):
    lib, other = (Library(work, f"ragged{i}", work / "ragged.json", *OPTIONS) for i in (1, 2))
    check("RAGGED1_INPUT_X_ROW_ENDS = 1" in (work / "ragged1.h").read_text(), "the header names the ends of the rows")
    lib.width = other.width = 4
    for first, last in ((0, 2), (0, ROWS), (9, 10), (4, 20)):
        code, got = lib.predict(first, last, np.zeros((last - first, 2), "float32"))
        check(code == 0 and np.abs(got - want[first:last]).max() < 1e-5, f"rows {first} to {last}: {code} {lib.error()}")
    code, _ = lib.predict(0, 3, np.zeros((3, 2), "float32"), values[:2])
    check(code != 0 and b"number of values" in lib.error(), f"too few values: {code} {lib.error()}")
    training(work, lib, other, work / "ragged", work / "ragged.npz", y, False)
    for m in (lib, other):
        m.lib.tfcc_destroy(m.m)


def tags(work):
    """A model whose output keeps the rows: labels are values, and so are predictions."""
    (work / "tags.json").write_text(model(True, [recurrent("GRU", "g", "m", return_sequences=True)]))
    labels = r.standard_normal((splits[-1], 2)).astype("float32")
    arrays = {"x.values": values, "x.row_splits": splits, "y.values": labels, "y.row_splits": splits}
    np.savez(work / "tags.npz", **arrays)
    program = compile_model(tfcc, work / "tags.json", work / "tags", *OPTIONS)
    runs = []
    for threads in (1, 3):
        run(program, "fit", "--data", work / "tags.npz", "--epochs", 3, "--batch-size", 7, "--seed", 5, "--history", work / "h.json",
            "--threads", threads, "--validation-split", 0.3)
        runs.append(read_json(work / "h.json"))
    check(runs[0]["batch_loss"] == runs[1]["batch_loss"], "tags: other numbers with 3 threads")
    check(np.isfinite(runs[0]["val_loss"]).all() and runs[0]["loss"][-1] < runs[0]["loss"][0], f"tags: {runs[0]['loss']}")
    other = np.concatenate([splits[:1], splits[1:2] - 1, splits[2:]])
    cases = [("other rows", {"y.row_splits": other}, r"combines these rows"), ("a matrix", {"y.values": None, "y.row_splits": None, "y": y}, r"ragged rows are \"y.values\""),
             ("no rows", {"y.row_splits": None}, r"\"y.row_splits\" is missing"), ("no labels", {"y.values": None, "y.row_splits": None}, r"\"y.values\" is missing|\"y\" is missing"),
             ("flat", {"y.values": labels[:, 0]}, r"expected shape")]
    for what, change, pattern in cases:
        np.savez(work / "bad.npz", **{k: v for k, v in {**arrays, **change}.items() if v is not None})
        p = run(program, "fit", "--data", work / "bad.npz", ok=False)
        check(p.returncode == 1 and re.search(pattern, p.stderr), f"tags, {what}: exit {p.returncode}: {p.stderr.strip()}")
    p = run(program, "fit", "--data", work / "tags.npz", "--class-weight", "0:2", ok=False)
    check(p.returncode == 1 and "ragged" in p.stderr, f"class weights: {p.stderr}")
    lib, twin = (Library(work, f"tags{i}", work / "tags.json", *OPTIONS) for i in (1, 2))
    lib.width = twin.width = 4
    batch = training(work, lib, twin, program, work / "tags.npz", labels, True)
    check(lib.call("weights_save", str(work / "lib.weights.h5").encode()) == 0, "weights_save")
    run(program, "predict", "--data", work / "tags.npz", "--weights", work / "lib.weights.h5", "--output", work / "p.npz")
    want = np.load(work / "p.npz")["y.values"]
    for first, last in ((0, 3), (2, ROWS), (9, 10), (0, ROWS)):
        code, got = lib.predict(first, last, np.zeros((splits[last] - splits[first], 2), "float32"))
        error = np.abs(got - want[splits[first] : splits[last]]).max(initial=0)
        check(code == 0 and error < 1e-5, f"tags of rows {first} to {last}: {code} {error} {lib.error()}")
    code, _ = lib.predict(0, 3, np.zeros((3, 2), "float32"))
    check(code != 0 and b"expected room for" in lib.error(), f"too little room: {code} {lib.error()}")
    b = batch(0, 5)
    b.target = (View * 1)(view(labels[:3]))
    code, _ = lib.run("train_step", b)
    check(code != 0 and b"a target for each value" in lib.error(), f"too few targets: {code} {lib.error()}")
    for m in (lib, twin):
        m.lib.tfcc_destroy(m.m)


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
    tags(work)
check.report()
