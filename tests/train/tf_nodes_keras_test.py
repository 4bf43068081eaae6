#!/usr/bin/env python3
"""Nodes of TensorFlow's graphs (TensorFlowOpLayer, as TensorFlow 2.3 wrote them) with live tf_keras, which still reads and runs
them. Needs tf_keras and tensorflow (exit 77 without)."""
import json
import sys
from pathlib import Path

import numpy as np

from program import Checks, compile_model, folder, modules, run

tf, k, base_layer, json_format = modules("tensorflow", "tf_keras", "tf_keras.src.engine.base_layer", "google.protobuf.json_format")
check = Checks()
r = np.random.default_rng(1)
DATA = {"a": r.standard_normal((3, 5, 4)).astype("float32"), "b": (r.random((3, 5, 4)) + 0.2).astype("float32"), "m": r.random((3, 6, 6, 2)).astype("float32")}


def node(name, function, *inputs):
    """The node that the function makes of placeholders for the tensors, with its constants."""
    graph = tf.Graph()
    with graph.as_default():
        places = [tf.compat.v1.placeholder(t.dtype, t.shape) for t in inputs]
        op = function(*places).op
        constants = {}
        for i, t in enumerate(op.inputs):
            value = tf.get_static_value(t)
            if not any(t is p for p in places):
                constants[i] = value
        definition = json_format.ParseDict(json_format.MessageToDict(op.node_def), tf.compat.v1.NodeDef())
    return base_layer.TensorFlowOpLayer(json_format.MessageToDict(definition), name, constants)(list(inputs) if len(inputs) > 1 else inputs[0])


def functions(a, b, m):
    c = lambda *shape: np.random.default_rng(7).standard_normal(shape).astype("float32") * 0.3
    return [(lambda x, y: x + y, a, b), (lambda x, y: x / y, a, b), (lambda x: x * 2.5, a), (lambda x: 1.0 - x, a), (lambda x: x + c(4), a),
            (lambda x: tf.pow(x, 2.0), b), (tf.exp, a), (tf.math.rsqrt, b), (tf.nn.relu6, a), (lambda x: tf.nn.leaky_relu(x, 0.3), a),
            (lambda x: tf.reduce_mean(x, axis=1), a), (lambda x: tf.reduce_max(x, axis=[1, 2], keepdims=True), a), (tf.nn.softmax, a),
            (lambda x, y: tf.matmul(x, y, transpose_b=True), a, b), (lambda x: tf.reshape(x, [-1, 20]), a), (lambda x: tf.transpose(x, [0, 2, 1]), a),
            (lambda x: tf.expand_dims(x, 1), a), (lambda x, y: tf.concat([x, y], -1), a, b), (lambda x, y: tf.stack([x, y], 1), a, b),
            (lambda x: tf.tile(x, [1, 2, 1]), a), (lambda x: x[:, 1], a), (lambda x: x[..., ::2], a), (lambda x: x[:, -2:, tf.newaxis], a),
            (lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 1]]), a), (lambda x: tf.gather(x, [0, 3], axis=1), a),
            (lambda x: tf.nn.conv2d(x, c(3, 3, 2, 4), strides=[1, 2, 2, 1], padding="SAME"), m), (lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"), m),
            (lambda x: tf.nn.avg_pool2d(x, 3, 1, "SAME"), m), (lambda x: tf.nn.bias_add(x, c(2)), m), (lambda x, y: tf.maximum(x, y), a, b)]


with folder() as work:
    work = Path(work)
    ins = {n: k.Input(x.shape[1:], name=n) for n, x in DATA.items()}
    made = [k.layers.Activation("linear", name=f"o{i}")(node(f"n{i}", f, *t)) for i, (f, *t) in enumerate(functions(**ins))]
    model = k.Model(list(ins.values()), made)
    config = json.loads(model.to_json())
    np.savez(work / "d.npz", **{f"x.{n}": x for n, x in DATA.items()})
    want = model([tf.constant(x) for x in DATA.values()])
    for text in (False, True):  # the definition as an object, and as a string that holds it
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "TensorFlowOpLayer" and text:
                layer["config"]["node_def"] = json.dumps(layer["config"]["node_def"])
        (work / "m.json").write_text(json.dumps(config))
        program = compile_model(sys.argv[1], work / "m.json", work / "program", "-O1")
        run(program, "predict", "--data", work / "d.npz", "--output", work / "p.npz")
        got = np.load(work / "p.npz")
        for name, b in zip(model.output_names, want):
            a, b = got[f"y.{name}"], np.asarray(b)
            check(a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=1e-5), f"{name}: {a.shape} {b.shape} {a.ravel()[:4]} {b.ravel()[:4]}")
check.report()
