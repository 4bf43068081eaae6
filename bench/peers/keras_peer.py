"""Trains a model of bench/models.py with Keras (KERAS_BACKEND chooses the framework). Reads a number of seconds per line
from standard input and answers with the milliseconds of the steps it made in that time, as a JSON list."""
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
threads = os.environ.get("BENCH_THREADS")
if threads and os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(int(threads))
    if threads == "1":
        tf.config.threading.set_inter_op_parallelism_threads(1)
import keras
from models import build

m, (x_shape, x_dtype, _), (y_shape, y_dtype, classes), batch = build(sys.argv[1], keras)
r = np.random.default_rng(0)
x = r.standard_normal((batch, *x_shape)).astype(x_dtype)
y = r.integers(0, classes, (batch, *y_shape)).astype(y_dtype)
if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
    x, y = tf.constant(x), tf.constant(y)
    data = tf.data.Dataset.from_tensors((x, y)).repeat()
    iterator = iter(data)
    m.make_train_function()

    def step():
        m.train_function(iterator)["loss"].numpy()
else:

    def step():
        m.train_on_batch(x, y)


for _ in range(5):
    step()
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    end = time.perf_counter() + float(line)
    times = []
    while time.perf_counter() < end:
        t = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - t))
    print(json.dumps(times), flush=True)
