#!/usr/bin/env python3
"""Ragged inputs with live tf_keras: predictions, and weights after training steps with sample weights, batches of different lengths
and a smaller last one; losses and metrics of outputs that keep the rows. Needs tf_keras and tensorflow (exit 77 without)."""
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


def encoded():
    """Words and numbers of ragged rows, looked up."""
    x, w = words(), k.Input((None,), ragged=True, dtype="string", name="w")
    ids = L.StringLookup(vocabulary=["tea", "milk", "salt"], num_oov_indices=2)(w)
    a = L.GlobalAveragePooling1D()(L.Embedding(6, 3)(ids))
    numbers = L.IntegerLookup(vocabulary=[2, 3, 5, 7])(x)
    b = L.GRU(3)(L.Embedding(6, 3)(numbers))
    c = [L.IntegerLookup(vocabulary=[2, 3, 5, 7], output_mode="multi_hot")(x), L.CategoryEncoding(20, output_mode="count")(x),
         L.StringLookup(vocabulary=["tea", "milk"], output_mode="count")(w), L.CategoryEncoding(5, output_mode="multi_hot")(L.Hashing(5)(w))]
    return k.Model([x, w], L.Dense(2)(L.Concatenate()([a, b, *c])))


def masked():
    """Rows with a 0 are pooled without it."""
    x = words()
    return k.Model(x, L.Dense(2)(L.GlobalAveragePooling1D()(L.Dense(3, "tanh")(L.Embedding(4, 4, mask_zero=True)(x)))))


MODELS = {
    "pooled": lambda: chain(vectors(), L.Dense(5, "relu"), L.LeakyReLU(0.2), L.GlobalMaxPooling1D(), L.Dense(2)),
    "back": lambda: chain(vectors(), L.GRU(4, go_backwards=True, return_sequences=True), L.SimpleRNN(3), L.Dense(2)),
    "both": lambda: chain(words(), L.Embedding(20, 4), L.Bidirectional(L.LSTM(3, return_sequences=True), merge_mode="ave"),
                          L.TimeDistributed(L.Dense(3)), L.GRU(3, reset_after=False), L.Dense(2)),
    "cells": lambda: chain(vectors(), L.RNN([L.LSTMCell(4), L.GRUCell(3)]), L.Dense(2)),
    "merged": merged, "functions": functions, "states": states, "alike": alike,
    "encoded": encoded, "masked": masked,
}


def make_rows(r, spec, empty, name=""):
    lengths = r.integers(1, 7, ROWS)
    lengths[2] = 15
    if empty:
        lengths[5] = 0
    shape = (lengths.sum(), *spec.shape[2:])
    most = 4 if name == "masked" else 20
    values = r.integers(0, most, shape).astype("int32") if len(spec.shape) == 2 else r.normal(size=shape).astype("float32")
    if spec.dtype == tf.string:
        values = np.array(["tea", "milk", "salt", "wine"])[values % 4]
    if name == "masked":
        values[np.cumsum(lengths) - 1] = 1  # a row of zeros has no mean
    return tf.RaggedTensor.from_row_splits(values, np.concatenate([[0], np.cumsum(lengths)]).astype("int64"))


def test(work, name, make):
    k.utils.set_random_seed(3)
    k.backend.clear_session()
    r = np.random.default_rng(2)
    model = make()
    alone = len(model.inputs) == 1
    rows = [make_rows(r, i, name in ("back", "cells"), name) for i in model.inputs]
    if name == "alike":
        some = rows[0].row_splits.numpy()
        rows[1] = tf.RaggedTensor.from_row_splits(r.integers(0, 20, some[-1]).astype("int32"), some)
    arrays = {"y": r.normal(size=(ROWS, 2)).astype("float32"), "sample_weight": r.uniform(0.5, 1.5, ROWS).astype("float32")}
    for i, x in zip(model.inputs, rows):
        key = "x." if alone else f"x.{i.name}."
        arrays |= {key + "values": x.values.numpy().astype("U") if x.dtype == tf.string else x.values.numpy(), key + "row_splits": x.row_splits.numpy()}
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


def tagger(classes, activation):
    return chain(words(), L.Embedding(20, 4), L.Bidirectional(L.GRU(3, return_sequences=True)), L.Dense(classes, activation))


def numbers(*tail):
    return lambda r, values: r.normal(size=(values, *tail)).astype("float32")


def flags(*tail):
    return lambda r, values: (r.uniform(size=(values, *tail)) < 0.5).astype("float32")


def classes(*tail):
    return lambda r, values: r.integers(0, 3, (values, *tail)).astype("int32")


def one_hot(r, values):
    return np.eye(3, dtype="float32")[r.integers(0, 3, values)]


LABELED = {
    "mse": (lambda: chain(vectors(), L.Dense(2)), {"class_name": "MeanSquaredError", "config": {}}, ["mae", "mse", "RootMeanSquaredError"], numbers(2)),
    "sum": (lambda: chain(vectors(), L.Dense(2)), {"class_name": "MeanSquaredError", "config": {"reduction": "sum"}}, ["mse"], numbers(2)),
    "huber": (lambda: chain(vectors(), L.Dense(2)), {"class_name": "Huber", "config": {"delta": 0.5}}, ["LogCoshError"], numbers(2)),
    "msle": (lambda: chain(vectors(), L.Dense(2, "sigmoid")), "msle", ["mape"], flags(2)),
    "flags": (lambda: tagger(1, "sigmoid"), "binary_crossentropy", ["accuracy", "Precision", "Recall", "AUC", "BinaryIoU"], flags(1)),
    "focal": (lambda: tagger(2, "sigmoid"), "binary_focal_crossentropy", ["binary_accuracy", "TruePositives"], flags(2)),
    "tags": (lambda: tagger(3, "softmax"), "sparse_categorical_crossentropy", ["accuracy", "sparse_categorical_crossentropy"], classes()),
    "tags of one": (lambda: tagger(3, "softmax"), "sparse_categorical_crossentropy", [], classes(1)),
    "logits": (lambda: tagger(3, None), {"class_name": "SparseCategoricalCrossentropy", "config": {"from_logits": True}},
               [{"class_name": "SparseTopKCategoricalAccuracy", "config": {"k": 2}}], classes()),
    "one hot": (lambda: tagger(3, "softmax"), {"class_name": "CategoricalCrossentropy", "config": {"label_smoothing": 0.1}}, [], one_hot),
    "activity": (lambda: chain(words(), L.Embedding(20, 3), L.Dense(4, "relu", activity_regularizer=k.regularizers.L1(0.1), kernel_regularizer="l2"),
                               L.Dense(2)), "mse", ["mae"], numbers(2)),
}


def deserialize(metric):
    return metric if isinstance(metric, str) else k.metrics.get(metric)


def test_labels(work, name, make, loss, metrics, labels):
    """Evaluation and training where the output keeps the rows."""
    k.utils.set_random_seed(3)
    k.backend.clear_session()
    r = np.random.default_rng(4)
    model = make()
    x = make_rows(r, model.inputs[0], False)
    y = labels(r, len(x.values))
    weight = r.uniform(0.5, 1.5, ROWS).astype("float32")
    np.savez(work / "d.npz", **{"x.values": x.values.numpy(), "x.row_splits": x.row_splits.numpy(), "y.values": y,
                                "y.row_splits": x.row_splits.numpy(), "sample_weight": weight})
    config = {"optimizer": {"class_name": "Adam", "config": {"learning_rate": 0.05}}, "loss": loss, "metrics": metrics}
    (work / "c.json").write_text(json.dumps(config))
    (work / "m.json").write_text(model.to_json())
    model.save_weights(work / "m.weights.h5")
    program = compile_model(sys.argv[1], work / "m.json", work / "program", "--compile-config", work / "c.json")
    rows = tf.RaggedTensor.from_row_splits(y, x.row_splits)

    def compile(metrics):
        model.compile(k.optimizers.Adam(0.05), k.losses.get(loss), metrics=[deserialize(m) for m in metrics])

    def evaluate(weights):
        return json.loads(run(program, "evaluate", "--data", work / "d.npz", "--weights", work / weights, "--batch-size", BATCH, "--json").stdout)

    def compare(weights, what):
        # Keras 2's metrics of ragged rows refuse sample weights that it is given, so losses and metrics are looked at apart
        got = evaluate(weights)
        compile([])
        want = model.evaluate(x, rows, sample_weight=weight, batch_size=BATCH, verbose=0)
        check(abs(got["loss"] - want) < 2e-5 * max(1, abs(want)), f"{name}, {what}: loss {got['loss']}, Keras {want}")
        compile(metrics)
        want = model.evaluate(x, rows, batch_size=BATCH, verbose=0, return_dict=True) if metrics else {}
        for key, value in want.items():
            check(key == "loss" or abs(got[key] - value) < 2e-5 * max(1, abs(value)), f"{name}, {what}: {key} {got.get(key)}, Keras {value}")

    compare("m.weights.h5", "before")
    compile([])
    for _ in range(2):
        for at in range(0, ROWS, BATCH):
            model.train_on_batch(x[at : at + BATCH], rows[at : at + BATCH], sample_weight=weight[at : at + BATCH])
    run(program, "fit", "--data", work / "d.npz", "--weights", work / "m.weights.h5", "--batch-size", BATCH, "--epochs", 2, "--no-shuffle",
        "--save", work / "n.weights.h5", "--verbose", 0)
    run(program, "predict", "--data", work / "d.npz", "--weights", work / "n.weights.h5", "--output", work / "p.npz", "--batch-size", BATCH)
    got = np.load(work / "p.npz")
    error = np.abs(got["y.values"] - model(x, training=False).values.numpy()).max()
    check(error < 2e-5 and (got["y.row_splits"] == x.row_splits.numpy()).all(), f"{name}, trained: {error}")
    compare("n.weights.h5", "after")


with folder() as folder_name:
    for model_name, made in MODELS.items():
        if len(sys.argv) > 2 and model_name not in sys.argv[2:]:
            continue
        test(Path(folder_name), model_name, made)
    for model_name, what in LABELED.items():
        if len(sys.argv) > 2 and model_name not in sys.argv[2:]:
            continue
        test_labels(Path(folder_name), model_name, *what)
check.report()
