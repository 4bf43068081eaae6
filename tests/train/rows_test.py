#!/usr/bin/env python3
"""An Embedding large enough to be updated by rows learns exactly what a small one, updated as a whole, learns from the same words;
rows that no word names stay as they are; nothing of it depends on the threads; saved states continue. The lazy rules are compared
with a model of them in NumPy, which applies each rule to the rows that the batch names."""
import json
import sys
from pathlib import Path

import h5py
import numpy as np

from program import Checks, compile_model, embedding_model, folder, read_json, run

check = Checks()
tfcc = sys.argv[1]
SMALL, LARGE, COLUMNS, WORDS, ROWS = 300, 20000, 16, 5, 41


def write_weights(path, table, kernel):
    with h5py.File(path, "w") as f:
        f["layers/embedding/vars/0"] = table
        f["layers/dense/vars/0"], f["layers/dense/vars/1"] = kernel, np.zeros(2, "float32")


def train(work, program, weights, out, threads, epochs=3):
    run(program, "fit", "--data", work / "d.npz", "--weights", weights, "--epochs", epochs, "--batch-size", 12, "--no-shuffle", "--threads", threads,
        "--save", out, "--history", work / "h.json", "--verbose", 0)
    with h5py.File(out, "r") as f:
        return np.array(read_json(work / "h.json")["batch_loss"]), f["layers/embedding/vars/0"][()], f["layers/dense/vars/0"][()]


def compare(work, optimizer, by_rows):
    r = np.random.default_rng(3)
    table, kernel = r.normal(size=(LARGE, COLUMNS)).astype("float32"), r.normal(size=(WORDS * COLUMNS, 2)).astype("float32")
    x = r.integers(0, SMALL, (ROWS, WORDS)).astype("int32")
    x[:, 1], x[3], x[4] = x[:, 0], x[2], 7  # repeated within rows and between them
    np.savez(work / "d.npz", x=x, y=r.normal(size=(ROWS, 2)).astype("float32"))
    found = {}
    for name, rows in (("small", SMALL), ("large", LARGE)):
        (work / f"{name}.json").write_text(json.dumps(embedding_model(rows, COLUMNS, WORDS, 2)))
        write_weights(work / f"{name}.weights.h5", table[:rows], kernel)
        program = compile_model(tfcc, work / f"{name}.json", work / name, "--optimizer", optimizer, "--loss", "mse")
        found[name] = train(work, program, work / f"{name}.weights.h5", work / "s.weights.h5", 1)
    small, large = found["small"], found["large"]
    check(np.abs(small[0] - large[0]).max() <= 1e-6 * np.abs(small[0]).max(), f"{optimizer}: losses {small[0]} {large[0]}")
    check(np.abs(small[1] - large[1][:SMALL]).max() < 1e-6, f"{optimizer}: the table's rows")
    check(np.abs(small[2] - large[2]).max() < 1e-6, f"{optimizer}: the kernel")
    untouched = np.setdiff1d(np.arange(LARGE), x)
    check((large[1][untouched] == table[untouched]).all(), f"{optimizer}: rows that no word names have changed")
    again = train(work, work / "large", work / "large.weights.h5", work / "t.weights.h5", 3)
    check(all((a == b).all() for a, b in zip(large, again)), f"{optimizer}: other numbers with 3 threads")
    train(work, work / "large", work / "large.weights.h5", work / "a.weights.h5", 2, 1)
    rest = train(work, work / "large", work / "a.weights.h5", work / "b.weights.h5", 2, 2)
    check(all((a == b).all() for a, b in zip(large[1:], rest[1:])), f"{optimizer}: stopped and continued, other weights")
    run(tfcc, "compile", work / "large.json", "-o", work / "ir", "--emit", "ir", "--optimizer", optimizer, "--loss", "mse")
    check(("row_marks" in (work / "ir").read_text()) == by_rows, f"{optimizer}: expected {'rows' if by_rows else 'the whole table'}")


RATE = 0.05


def adam(o, w, g, s, t):
    m, v = s
    m += (g - m) * (1 - o["beta_1"])
    v += (g * g - v) * (1 - o["beta_2"])
    if o.get("weight_decay"):
        w -= w * o["weight_decay"] * RATE
    w -= m * RATE * np.sqrt(1 - o["beta_2"] ** t) / (1 - o["beta_1"] ** t) / (np.sqrt(v) + o["epsilon"])


def adamax(o, w, g, s, t):
    m, u = s
    m += (g - m) * (1 - o["beta_1"])
    u[:] = np.maximum(u * o["beta_2"], np.abs(g))
    w -= RATE * m / ((1 - o["beta_1"] ** t) * (u + o["epsilon"]))


def nadam(o, w, g, s, t):
    m, v = s
    momenta = [o["beta_1"] * (1 - 0.5 * 0.96 ** i) for i in range(1, t + 2)]
    m += (g - m) * (1 - o["beta_1"])
    v += (g * g - v) * (1 - o["beta_2"])
    product = np.prod(momenta[:-1])
    ahead = momenta[-1] * m / (1 - product * momenta[-1]) + (1 - momenta[-2]) * g / (1 - product)
    w -= RATE * ahead / (np.sqrt(v / (1 - o["beta_2"] ** t)) + o["epsilon"])


def rmsprop(o, w, g, s, t):
    v, m = s
    v += (g * g - v) * (1 - o["rho"])
    m[:] = m * o["momentum"] + RATE * g / np.sqrt(v + o["epsilon"])
    w -= m


def momentum(o, w, g, s, t):
    m = s[0]
    m[:] = o["momentum"] * m - RATE * g
    w += m * o["momentum"] - RATE * g if o["nesterov"] else m


def adadelta(o, w, g, s, t):
    squares, changes = s
    squares += (g * g - squares) * (1 - o["rho"])
    change = -np.sqrt(changes + o["epsilon"]) * g / np.sqrt(squares + o["epsilon"])
    changes += (change * change - changes) * (1 - o["rho"])
    w += RATE * change


def ftrl(o, w, g, s, t):
    total, linear = s
    total[total == 0] = 0.1  # initial_accumulator_value
    new = total + g * g
    linear += g - (np.sqrt(new) - np.sqrt(total)) / RATE * w
    total[:] = new
    w[:] = (np.clip(linear, -o["l1"], o["l1"]) - linear) / (np.sqrt(new) / RATE)


def lion(o, w, g, s, t):
    m = s[0]
    w -= RATE * np.sign(o["beta_1"] * m + (1 - o["beta_1"]) * g)
    m += (g - m) * (1 - o["beta_2"])


BETAS = {"beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-4}
LION = {"beta_1": 0.9, "beta_2": 0.99}
LAZY = [  # class, rule, its settings, those of Keras
    ("Adam", adam, BETAS, BETAS),
    ("AdamW", adam, {**BETAS, "weight_decay": 0.1}, {**BETAS, "weight_decay": 0.1}),
    ("Adamax", adamax, BETAS, BETAS),
    ("Nadam", nadam, BETAS, BETAS),
    ("RMSprop", rmsprop, {"rho": 0.8, "momentum": 0.5, "epsilon": 1e-4}, {"rho": 0.8, "momentum": 0.5, "epsilon": 1e-4}),
    ("SGD", momentum, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "nesterov": True}),
    ("Adadelta", adadelta, {"rho": 0.9, "epsilon": 1e-3}, {"rho": 0.9, "epsilon": 1e-3}),
    ("Ftrl", ftrl, {"l1": 0.001}, {"l1_regularization_strength": 0.001}),
    ("Lion", lion, LION, LION),
]


def model_in_numpy(rule, options, x, y, table, kernel, batch, epochs, clip=None):
    """The losses and weights of the rule on the rows that each batch names, in double precision."""
    weights = [table.astype("float64"), kernel.astype("float64"), np.zeros(2)]
    slots = [[np.zeros_like(w) for _ in range(2)] for w in weights]
    losses, t = [], 0
    for _ in range(epochs):
        for i in range(0, len(x), batch):
            words, t = x[i:i + batch], t + 1
            features = weights[0][words].reshape(len(words), -1)
            error = features @ weights[1] + weights[2] - y[i:i + batch]
            losses.append((error ** 2).mean())
            d = 2 * error / error.size
            rows = np.zeros_like(weights[0])
            np.add.at(rows, words, (d @ weights[1].T).reshape(*words.shape, -1))
            gradients = [rows, features.T @ d, d.sum(0)]
            if clip:
                norm = np.sqrt(sum((g ** 2).sum() for g in gradients))
                gradients = [g * min(1, clip / norm) for g in gradients]
            named = np.unique(words)
            for k, at in enumerate((named, slice(None), slice(None))):
                part, own = weights[k][at], [s[at] for s in slots[k]]
                rule(options, part, gradients[k][at], own, t)
                weights[k][at] = part
                for s, o in zip(slots[k], own):
                    s[at] = o
    return np.array(losses), weights[0], weights[1]


def compare_lazy(work, rows, name, rule, options, config, clip=None, extra=()):
    r = np.random.default_rng(5)
    table, kernel = r.normal(size=(rows, COLUMNS)).astype("float32"), r.normal(size=(WORDS * COLUMNS, 2)).astype("float32")
    x = r.integers(0, min(rows, 150), (ROWS, WORDS)).astype("int32")
    x[:, 1], x[3], x[4] = x[:, 0], x[2], 7
    y = r.normal(size=(ROWS, 2)).astype("float32")
    np.savez(work / "d.npz", x=x, y=y)
    write_weights(work / "l.weights.h5", table, kernel)
    (work / "l.json").write_text(json.dumps(embedding_model(rows, COLUMNS, WORDS, 2)))
    config = {"learning_rate": RATE, **config, **({"global_clipnorm": clip} if clip else {})}
    (work / "c.json").write_text(json.dumps({"optimizer": {"class_name": name, "config": config}, "loss": "mse", "lazy_embeddings": True}))
    program = compile_model(tfcc, work / "l.json", work / "lazy", "--compile-config", work / "c.json", *extra)
    found = train(work, program, work / "l.weights.h5", work / "s.weights.h5", 1)
    want = model_in_numpy(rule, options, x, y, table, kernel, 12, 3, clip)
    what = f"lazy {name} on {rows} rows{', clipped' * bool(clip)}{' '.join(('', *extra))}"
    for part, f, w in zip(("losses", "table", "kernel"), found, want):
        check(np.abs(f - w).max() <= 2e-5 * np.abs(w).max(), f"{what}: {part}: off by {np.abs(f - w).max()} of {np.abs(w).max()}")
    untouched = np.setdiff1d(np.arange(rows), x)
    check((found[1][untouched] == table[untouched]).all(), f"{what}: rows that no word names have changed")
    again = train(work, program, work / "l.weights.h5", work / "t.weights.h5", 3)
    check(all((a == b).all() for a, b in zip(found, again)), f"{what}: other numbers with 3 threads")
    train(work, program, work / "l.weights.h5", work / "a.weights.h5", 2, 1)
    rest = train(work, program, work / "a.weights.h5", work / "b.weights.h5", 2, 2)
    check(all((a == b).all() for a, b in zip(found[1:], rest[1:])), f"{what}: stopped and continued, other weights")


def refuse_lazy(work, what, config, pattern, *options):
    (work / "c.json").write_text(json.dumps({"optimizer": config, "loss": "mse"}))
    p = run(tfcc, "compile", work / "l.json", "-o", work / "none", "--compile-config", work / "c.json", "--lazy-embeddings", *options, ok=False)
    check(p.returncode == 1 and pattern in p.stderr, f"{what}: exit {p.returncode}: {p.stderr}")


with folder() as name:
    compare(Path(name), "sgd", True)
    compare(Path(name), "adagrad", True)
    for row in LAZY:
        compare_lazy(Path(name), 400, *row)
    compare_lazy(Path(name), LARGE, *LAZY[0])
    compare_lazy(Path(name), LARGE, *LAZY[0], clip=0.5)
    compare_lazy(Path(name), 400, *LAZY[0], extra=("--loss-scale", "dynamic"))
    for other in ("Lamb", "Adafactor", "Muon", "ScheduleFreeAdamW"):
        refuse_lazy(Path(name), other, {"class_name": other, "config": {}}, "whose rule looks at the table as a whole")
    refuse_lazy(Path(name), "accumulation", {"class_name": "Adam", "config": {"gradient_accumulation_steps": 2}}, "found none")
    refuse_lazy(Path(name), "a transform", {"class_name": "Adam", "config": {}}, "found none", "--gradient-transform", "centralize")
    text = run(tfcc, "compile", Path(name) / "l.json", "-o", Path(name) / "e", "--optimizer", "adam", "--loss", "mse", "--lazy-embeddings", "--explain",
               "layout").stdout
    check('updated by the rows that a batch names, lazily' in text, f"--explain layout: {text}")
check.report()
