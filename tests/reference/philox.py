"""Prints the tables of tests/unit/philox_test.c: random words as TensorFlow's stateless operations make them.

Run it with a Python that has tensorflow and keras. The last check shows where Keras reduces seeds: before
the stateless operation, which itself takes the 64-bit words as they are."""
import keras
import tensorflow as tf

SEEDS = [(0, 0), (1, 2), (-1, 5), (2**31 - 2, 2**31), (1234567890123, -9876543210)]
FIRST = 9
FAR_SEED, FAR = (7, 8), (1023, 4096, 999999, 3000000)


def words(seed, count):
    return tf.random.stateless_uniform(
        [count], seed=tf.constant(seed, tf.int64), minval=None, maxval=None, dtype=tf.uint32
    ).numpy()


for seed in SEEDS:
    print(f"    {{{seed[0]}, {seed[1]}, {{{', '.join(hex(w) for w in words(seed, FIRST))}}}}},")
far = words(FAR_SEED, FAR[-1] + 1)
for index in FAR:
    print(f"    {{{index}, {far[index]:#x}}},")

reduced = keras.random.uniform([4], seed=1).numpy()
assert (keras.random.uniform([4], seed=2**31 - 1).numpy() == reduced).all()
assert (tf.random.stateless_uniform([4], seed=tf.constant([1, 0], tf.int64)).numpy() == reduced).all()
