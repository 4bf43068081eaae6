"""Runs a model of bench/models.py with Keras: `keras_peer.py NAME BATCH train|infer`. KERAS_BACKEND chooses the framework,
BENCH_COMPILE=1 has TensorFlow compile the step with XLA. Talks as protocol.py says."""
import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
threads = int(os.environ["BENCH_THREADS"])
tensorflow = os.environ["KERAS_BACKEND"] == "tensorflow"
if tensorflow:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    if threads == 1:
        tf.config.threading.set_inter_op_parallelism_threads(1)
import keras
from models import build
from protocol import serve

# Keras's own choice, "auto", is XLA with TensorFlow too, which is the slower one on most models.
jit = os.environ.get("BENCH_COMPILE") == "1" if tensorflow else "auto"
name, batch, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3]
m, (x_shape, x_dtype, words), (y_shape, y_dtype, classes), _ = build(name, keras, jit)
r = np.random.default_rng(0)
x = r.integers(1, words, (batch, *x_shape)).astype(x_dtype) if words else r.standard_normal((batch, *x_shape)).astype(x_dtype)
y = r.integers(0, classes, (batch, *y_shape)).astype(y_dtype)
if tensorflow:
    x, y = tf.constant(x), tf.constant(y)
    batches = iter(tf.data.Dataset.from_tensors((x, y)).repeat())
    m.make_train_function()
    m.make_predict_function()

    def train():
        float(m.train_function(batches)["loss"])

    def infer():
        m.predict_function([(x,)])
else:

    def train():
        m.train_on_batch(x, y)

    def infer():
        m.predict_on_batch(x)


serve(train if mode == "train" else infer)
