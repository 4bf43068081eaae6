#!/usr/bin/env python3
"""Ragged inputs with live tf_keras: predictions, and weights after training steps with sample weights, batches of different lengths
and a smaller last one. Needs tf_keras and tensorflow (exit 77 without)."""
import json
import sys
from pathlib import Path

import numpy as np

from program import Checks, compile_model, folder, modules, run

tf, k = modules("tensorflow", "tf_keras")
L = k.layers
check = Checks()
ROWS, BATCH = 8, 3


def words():
    return k.Input((None,), ragged=True, dtype="int32", name="x")


def vectors(name="x", width=3):
    return k.Input((None, width), ragged=True, name=name)


def chain(x, *layers):
    h = x
    for each in layers:
        h = each(h)
    return k.Model(x, h)


def merged():
    x = words()
    a = L.Embedding(20, 5)(x)
    b = L.Dense(5, "tanh")(a)
    c = L.Concatenate()([L.Add()([a, b]), L.Multiply()([a, b])])
    return k.Model(x, L.Dense(2)(L.GlobalAveragePooling1D()(c)))


def functions():
    x = vectors()
    h = tf.nn.relu(x * 2.0 + 1.0)
    return k.Model(x, L.Dense(2)(L.Concatenate()([tf.reduce_mean(h, axis=1), tf.reduce_sum(tf.exp(-h), axis=1), tf.reduce_max(x, axis=1)])))


def states():
    x, z = vectors(), vectors("z", 2)
    sequence, h, c = L.LSTM(4, return_state=True, return_sequences=True)(x)
    y = L.LSTM(4)(sequence, initial_state=[h, c])
    return k.Model([x, z], L.Dense(2)(L.Concatenate()([y, h, L.GlobalMaxPooling1D(keepdims=False)(z)])))


def alike():
    x, z = vectors(), k.Input((None,), ragged=True, dtype="int32", name="z")
    e = L.Embedding(20, 3)(z)
    h = L.GRU(4, return_sequences=True)(L.Concatenate()([L.Add()([x, e]), L.Dense(2, "tanh")(e)]))
    return k.Model([x, z], L.Dense(2)(L.GlobalMaxPooling1D()(L.Multiply()([h, L.LSTM(4, return_sequences=True)(e)]))))


MODELS = {
    "pooled": lambda: chain(vectors(), L.Dense(5, "relu"), L.LeakyReLU(0.2), L.GlobalMaxPooling1D(), L.Dense(2)),
    "back": lambda: chain(vectors(), L.GRU(4, go_backwards=True, return_sequences=True), L.SimpleRNN(3), L.Dense(2)),
    "both": lambda: chain(words(), L.Embedding(20, 4), L.Bidirectional(L.LSTM(3, return_sequences=True), merge_mode="ave"),
                          L.TimeDistributed(L.Dense(3)), L.GRU(3, reset_after=False), L.Dense(2)),
    "cells": lambda: chain(vectors(), L.RNN([L.LSTMCell(4), L.GRUCell(3)]), L.Dense(2)),
    "merged": merged, "functions": functions, "states": states, "alike": alike,
}


def make_rows(r, spec, empty):
    lengths = r.integers(1, 7, ROWS)
    lengths[2] = 15
    if empty:
        lengths[5] = 0
    shape = (lengths.sum(), *spec.shape[2:])
    values = r.integers(0, 20, shape).astype("int32") if len(spec.shape) == 2 else r.normal(size=shape).astype("float32")
    return tf.RaggedTensor.from_row_splits(values, np.concatenate([[0], np.cumsum(lengths)]).astype("int64"))


def test(work, name, make):
    k.utils.set_random_seed(3)
    k.backend.clear_session()
    r = np.random.default_rng(2)
    model = make()
    alone = len(model.inputs) == 1
    rows = [make_rows(r, i, name in ("back", "cells")) for i in model.inputs]
    if name == "alike":
        some = rows[0].row_splits.numpy()
        rows[1] = tf.RaggedTensor.from_row_splits(r.integers(0, 20, some[-1]).astype("int32"), some)
    arrays = {"y": r.normal(size=(ROWS, 2)).astype("float32"), "sample_weight": r.uniform(0.5, 1.5, ROWS).astype("float32")}
    for i, x in zip(model.inputs, rows):
        key = "x." if alone else f"x.{i.name}."
        arrays |= {key + "values": x.values.numpy(), key + "row_splits": x.row_splits.numpy()}
    np.savez(work / "d.npz", **arrays)
    config = {"optimizer": {"class_name": "Adam", "config": {"learning_rate": 0.05}}, "loss": "mse", "metrics": None}
    (work / "c.json").write_text(json.dumps(config))
    (work / "m.json").write_text(model.to_json())
    model.save_weights(work / "m.weights.h5")
    model.compile(k.optimizers.Adam(0.05), "mse")
    program = compile_model(sys.argv[1], work / "m.json", work / "program", "--compile-config", work / "c.json")

    def compare(weights, what):
        run(program, "predict", "--data", work / "d.npz", "--weights", work / weights, "--output", work / "p.npz", "--batch-size", BATCH)
        want = model(rows[0] if alone else rows, training=False).numpy()
        error = np.abs(np.load(work / "p.npz")["y"] - want).max()
        check(error < 2e-5, f"{name}, {what}: {error}")

    compare("m.weights.h5", "predictions")
    for _ in range(2):
        for at in range(0, ROWS, BATCH):
            part = [x[at : at + BATCH] for x in rows]
            model.train_on_batch(part[0] if alone else part, arrays["y"][at : at + BATCH], sample_weight=arrays["sample_weight"][at : at + BATCH])
    run(program, "fit", "--data", work / "d.npz", "--weights", work / "m.weights.h5", "--batch-size", BATCH, "--epochs", 2, "--no-shuffle",
        "--save", work / "n.weights.h5", "--verbose", 0)
    compare("n.weights.h5", "after training")


with folder() as folder_name:
    for model_name, made in MODELS.items():
        test(Path(folder_name), model_name, made)
check.report()
