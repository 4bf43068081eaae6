#!/usr/bin/env python3
"""Sparse inputs: every layout of the data gives what the same numbers give through a dense input, in predict and in training;
products never see a dense matrix; wrong indices are refused before anything runs."""
import json
import re
import sys

import numpy as np

from program import Checks, compile_model, folder, functional, layer, read_json, run

check = Checks()
tfcc = sys.argv[1]
ROWS, A, B = 23, 40, 17


def model(sparse, middle, last):
    inputs = [layer(n, "InputLayer", {"batch_shape": [None, c], "dtype": "float32", "sparse": sparse}) for n, c in (("a", A), ("b", B))]
    constant = {"module": "keras.initializers", "class_name": "RandomUniform", "config": {"minval": -0.5, "maxval": 0.5, "seed": 3}}
    dense = layer("dense", "Dense", {"units": 3, "activation": "tanh", "kernel_initializer": constant}, last)
    return json.dumps(functional([*inputs, *middle, dense]))


def matrix(r, columns):
    x = r.standard_normal((ROWS, columns)).astype("float32")
    x[r.random(x.shape) > 0.15] = 0
    x[5] = 0
    return x


def compressed(x, prefix):
    row, col = x.nonzero()
    start = np.concatenate([[0], np.cumsum((x != 0).sum(1))])
    return {prefix + "data": x[row, col], prefix + "indices": col.astype("int32"), prefix + "indptr": start, prefix + "shape": np.array(x.shape)}


def pairs(x, prefix):
    row, col = x.nonzero()
    return {prefix + "values": x[row, col].astype("float64"), prefix + "indices": np.stack([row, col], 1), prefix + "shape": np.array(x.shape)}


def numbered(x, prefix):
    row, col = x.nonzero()
    return {prefix + "data": x[row, col], prefix + "row": row, prefix + "col": col, prefix + "shape": np.array(x.shape)}


def results(work, program, data, threads):
    run(program, "predict", "--data", data, "--output", work / "p.npz", "--batch-size", 7, "--threads", threads)
    run(program, "fit", "--data", data, "--epochs", 3, "--batch-size", 7, "--seed", 5, "--history", work / "h.json", "--threads", threads)
    return np.load(work / "p.npz")["y"], np.array(read_json(work / "h.json")["batch_loss"])


def compare(work, what, middle, last):
    r = np.random.default_rng(7)
    a, b, y = matrix(r, A), matrix(r, B), r.standard_normal((ROWS, 3)).astype("float32")
    (work / "dense.json").write_text(model(False, middle, last))
    (work / "sparse.json").write_text(model(True, middle, last))
    options = ("--optimizer", "adam", "--loss", "mse")
    np.savez(work / "d.npz", **{"x.a": a, "x.b": b, "y": y})
    want = results(work, compile_model(tfcc, work / "dense.json", work / "dense", *options), work / "d.npz", 1)
    program = compile_model(tfcc, work / "sparse.json", work / "sparse", *options)
    for how, make in (("compressed", compressed), ("pairs", pairs), ("numbered", numbered), ("dense", lambda x, p: {p[:-1]: x})):
        np.savez(work / "s.npz", **{**make(a, "x.a."), **make(b, "x.b."), "y": y})
        got = results(work, program, work / "s.npz", 1)
        check(np.abs(got[0] - want[0]).max() < 1e-5, f"{what}, {how}: predictions")
        check(np.abs(got[1] - want[1]).max() < 1e-5, f"{what}, {how}: losses")
        again = results(work, program, work / "s.npz", 3)
        check(all((g == o).all() for g, o in zip(got, again)), f"{what}, {how}: other numbers with 3 threads")
    return run(tfcc, "compile", work / "sparse.json", "-o", work / "sparse", "--explain", "layout", *options).stdout


def refusals(work):
    r = np.random.default_rng(8)
    a, b = matrix(r, A), matrix(r, B)
    good = compressed(a, "x.a.")
    turned, twice = good["x.a.indices"].copy(), good["x.a.indices"].copy()
    start = good["x.a.indptr"]
    i = next(k for k in range(ROWS) if start[k + 1] - start[k] > 1)
    turned[start[i]], turned[start[i] + 1] = turned[start[i] + 1], turned[start[i]]
    twice[start[i] + 1] = twice[start[i]]
    falling = start.copy()
    falling[3] = falling[4] + 1
    cases = [
        ("column too large", {"x.a.indices": np.where(np.arange(len(twice)) == 2, A, good["x.a.indices"])}, r"entry 2 lies at \[\d+,40\], outside"),
        ("column below zero", {"x.a.indices": np.where(np.arange(len(twice)) == 2, -1, good["x.a.indices"])}, r"\[\d+,-1\], outside"),
        ("not in order", {"x.a.indices": turned}, r"out of order"),
        ("twice", {"x.a.indices": twice}, r"is there twice"),
        ("falling indptr", {"x.a.indptr": falling}, r"never decreases"),
        ("short indptr", {"x.a.indptr": start[:-1]}, r"indptr of one number more"),
        ("float indices", {"x.a.indices": good["x.a.indices"].astype("float32")}, r"x\.a\.indices\": expected integers"),
        ("other width", {"x.a.shape": np.array([ROWS, A + 1])}, r"expected shape \[N,40\]"),
        ("other rows", {"x.a.shape": np.array([ROWS - 1, A]), "x.a.indptr": np.minimum(start, start[-2])[:-1], "x.a.indices": good["x.a.indices"][: start[-2]],
                        "x.a.data": good["x.a.data"][: start[-2]]}, r"expected \d+ rows"),
        ("no shape", {"x.a.shape": None}, r"\"shape\" is missing"),
        ("fewer values", {"x.a.data": good["x.a.data"][:-1]}, r"as many indices"),
    ]
    for what, change, pattern in cases:
        members = {k: v for k, v in {**good, **pairs(b, "x.b."), **change}.items() if v is not None}
        np.savez(work / "bad.npz", **members)
        p = run(work / "sparse", "predict", "--data", work / "bad.npz", "--output", work / "none.npz", ok=False)
        check(p.returncode == 1 and re.search(pattern, p.stderr), f"{what}: exit {p.returncode}: {p.stderr.strip()}")
        check(not (work / "none.npz").exists(), f"{what}: left a file")


def encodings(work):
    """Results of lookups and encodings with sparse=True: the numbers of the dense ones, and products that see the entries only."""
    def net(sparse):
        i = layer("i", "InputLayer", {"batch_shape": [None, 4], "dtype": "int64"})
        many = {"vocabulary": list(range(10, 310)), "num_oov_indices": 2, "sparse": sparse}
        parts = [layer("p", "IntegerLookup", {**many, "output_mode": "multi_hot"}, "i"), layer("q", "IntegerLookup", {**many, "output_mode": "count"}, "i"),
                 layer("h", "Hashing", {"num_bins": 77, "output_mode": "multi_hot", "sparse": sparse}, "i"),
                 layer("w", "CategoryEncoding", {"num_tokens": 400, "output_mode": "count", "sparse": sparse}, "i")]
        joined = [layer("j", "Concatenate", {}, "p", "q"), layer("k", "Concatenate", {}, "h", "w")]
        constant = {"module": "keras.initializers", "class_name": "RandomUniform", "config": {"minval": -0.5, "maxval": 0.5, "seed": 3}}
        ends = [layer(f"d{n}", "Dense", {"units": 3, "kernel_initializer": constant}, n) for n in ("j", "k")]
        ends += [layer("s", "Add", {}, "dj", "dk")]
        config = {"name": "m", "trainable": True, "layers": [i, *parts, *joined, *ends], "input_layers": [["i", 0, 0]], "output_layers": [["s", 0, 0]]}
        (work / "e.json").write_text(json.dumps({"module": "keras", "class_name": "Functional", "config": config, "registered_name": "Functional"}))
        return run(tfcc, "compile", work / "e.json", "-o", work / "e", "--optimizer", "adam", "--loss", "mse", "--explain", "layout").stdout

    r = np.random.default_rng(9)
    x, y = r.integers(0, 330, (ROWS, 4)), r.standard_normal((ROWS, 3)).astype("float32")
    x[3], x[4, 1:] = 50, x[4, 0]
    np.savez(work / "e.npz", x=x, y=y)
    net(False)
    want = results(work, work / "e", work / "e.npz", 1)
    text = net(True)
    check("made dense" not in text and text.count("product from its entries, Dense") >= 8 and "gradient" in text, f"encodings are made dense: {text}")
    for threads in (1, 3):
        got = results(work, work / "e", work / "e.npz", threads)
        check(all(np.abs(g - w).max() < 1e-5 for g, w in zip(got, want)), f"encodings: {got[1]} {want[1]}")


with folder() as name:
    from pathlib import Path
    work = Path(name)
    text = compare(work, "concatenate", [layer("c", "Concatenate", {"axis": -1}, "a", "b")], "c")
    check("made dense" not in text and text.count("from its entries") >= 8, f"a dense matrix is made for a product: {text}")
    refusals(work)
    encodings(work)
    sides = [layer("p", "Dense", {"units": 4}, "a"), layer("q", "Dense", {"units": 4}, "b"), layer("s", "Add", {}, "p", "q")]
    compare(work, "two products", sides, "s")
    text = compare(work, "relu", [layer("r", "ReLU", {}, "a"), layer("c", "Concatenate", {"axis": -1}, "r", "b")], "c")
    check('"a": made dense, read by ReLU "r"' in text, f"relu of a sparse matrix: {text}")
    doubled = [layer(f"c{i}", "Concatenate", {"axis": -1}, *[f"c{i - 1}" if i else "a"] * 2) for i in range(12)]
    (work / "many.json").write_text(model(True, doubled, "c11"))
    text = run(tfcc, "compile", work / "many.json", "-o", work / "many", "--explain", "layout").stdout
    check('"a": made dense' in text, f"4096 products, one for each part: {text}")
check.report()
