"""Cases of dtype policies: families of layers under every policy, policies per layer and by DTypePolicyMap, loss
scaling. Variables of bfloat16 are in no case: their datasets hold no numbers for NumPy. The folder policies/ has those whose
tolerances are known from TensorFlow alone."""
import numpy as np
import keras
from keras import layers as L
from keras import ops
from keras import optimizers as O
from keras import regularizers as R

from corpus import case, chain, make

I = keras.Input
POLICIES = {"f16": "mixed_float16", "bf16": "mixed_bfloat16", "f64": "float64", "half": "float16"}
FLOOR = {"f16": "mixed_float16", "bf16": "mixed_bfloat16", "f64": "float32", "half": "mixed_float16"}


def family(name, which="f16 bf16 f64", **kw):
    """Declares the case once for each policy; the function gets the data and the policy's short name."""

    def deco(fn):
        for short in which.split():
            def run(d, short=short):
                keras.config.set_dtype_policy(POLICIES[short])
                return fn(d, short)

            case("mixed", f"{name}_{short}", floor=FLOOR[short], **kw)(run)
        return fn

    return deco


def f32(units, activation=None):
    return L.Dense(units, activation, dtype="float32")


@family("cnn", n=7, batch=3)
def _(d, short):
    i = I((9, 8, 3))
    x = chain(i, L.Conv2D(8, 3, padding="same", activation="relu"), L.MaxPooling2D(2), L.BatchNormalization(),
              L.DepthwiseConv2D(3, padding="same", depth_multiplier=2), L.AveragePooling2D(2, padding="same"),
              L.SeparableConv2D(6, 3, padding="same", activation="swish"), L.Conv2DTranspose(4, 2, strides=2), L.LeakyReLU(),
              L.GlobalMaxPooling2D(), f32(3))
    return make(i, x, O.SGD(0.05), keras.losses.SparseCategoricalCrossentropy(from_logits=True), ["accuracy"]), d.f(9, 8, 3), d.i(3)


@family("lora", "f16 f64 half", n=6, batch=3, jax=False)
def _(d, short):
    a, b, t = I((4, 4, 4), name="a"), I((4,), name="b"), I((3,), dtype="int32", name="t")
    e = L.Embedding(5, 3, lora_rank=2, lora_alpha=3.0)(t)
    parts = [L.Conv2D(4, 2, groups=2, lora_rank=2, lora_alpha=3.0)(a),
             L.EinsumDense("abc,cde->abde", (3, 2, 3), bias_axes="e", lora_rank=2, lora_alpha=1.0)(e),
             L.Dense(3, kernel_regularizer="l2", lora_rank=2, lora_alpha=5.0)(b)]
    x = L.Concatenate()([L.Flatten()(p) for p in parts])
    return make([a, b, t], f32(2)(x), O.SGD(0.1)), {"a": d.f(4, 4, 4), "b": d.f(4), "t": d.i(5, 3)}, d.f(2)


@family("conv_1d_3d", n=5, batch=2)
def _(d, short):
    i, j = I((8, 3), name="a"), I((4, 4, 4, 2), name="b")
    x = chain(i, L.Conv1D(4, 3, dilation_rate=2, activation="tanh"), L.MaxPooling1D(2), L.UpSampling1D(2), L.Flatten())
    y = chain(j, L.Conv3D(3, 2, activation="relu"), L.GlobalAveragePooling3D())
    z = L.Concatenate()([x, y])
    return make([i, j], f32(2)(z)), dict(a=d.f(8, 3), b=d.f(4, 4, 4, 2)), d.f(2)


@family("lstm", n=9, batch=4)
def _(d, short):
    i = I((6,), dtype="int32")
    x = chain(i, L.Embedding(11, 5, mask_zero=True), L.LSTM(6, return_sequences=True), L.GRU(5), f32(2))
    return make(i, x, O.SGD(0.1)), d.i(11, 6), d.f(2)


@family("bidirectional", n=7, batch=3)
def _(d, short):
    i = I((5, 4))
    x = chain(i, L.Bidirectional(L.SimpleRNN(4, return_sequences=True)), L.TimeDistributed(L.Dense(5, "relu")),
              L.Bidirectional(L.LSTM(3), merge_mode="sum"), f32(2))
    return make(i, x, O.SGD(0.05)), d.f(5, 4), d.f(2)


@family("transformer", n=6, batch=3)
def _(d, short):
    i = I((7,), dtype="int32")
    x = L.Embedding(13, 8)(i)
    a = L.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True)
    x = L.LayerNormalization()(x + a)
    h = chain(x, L.Dense(16, "gelu"), L.Dense(8))
    x = L.LayerNormalization(epsilon=1e-5)(L.Add()([x, h]))
    x = L.Dense(13, dtype="float32")(x)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return make(i, x, O.Adam(0.01), loss, ["accuracy"]), d.i(13, 7), d.i(13, 7)


@family("attention", n=6, batch=3)
def _(d, short):
    i, j = I((5, 8), name="q"), I((6, 8), name="v")
    x = L.MultiHeadAttention(2, 4, dropout=0.0)(i, j)
    y = L.GroupQueryAttention(4, 4, 2)(i, j)
    u = L.Attention(use_scale=True)([i, j])
    w = L.AdditiveAttention()([i, j])
    z = L.GlobalAveragePooling1D()(L.Concatenate()([x, y, u, w]))
    return make([i, j], f32(2)(z), O.SGD(0.05)), dict(q=d.f(5, 8), v=d.f(6, 8)), d.f(2)


@family("norms", n=6, batch=3)
def _(d, short):
    i = I((4, 6))
    x = L.Dense(6)(i)
    parts = [L.LayerNormalization()(x), L.GroupNormalization(2)(x), L.RMSNormalization()(x), L.UnitNormalization()(x),
             L.BatchNormalization()(x), L.LayerNormalization(axis=[1, 2])(x), L.LayerNormalization()(i), L.GroupNormalization(3)(i)]
    x = L.Flatten()(L.Concatenate()(parts))
    return make(i, f32(2)(x), O.SGD(0.05)), d.f(4, 6), d.f(2)


@family("activations", n=6, batch=3)
def _(d, short):
    i = I((6,))
    x = L.Dense(8)(i)
    names = ("relu relu6 leaky_relu elu selu celu gelu silu mish softplus softsign sigmoid tanh exponential hard_sigmoid "
             "hard_silu hard_tanh log_sigmoid softmax log_softmax soft_shrink hard_shrink tanh_shrink squareplus "
             "sparse_plus glu threshold").split()
    parts = [L.Activation(a)(x) for a in names] + [L.PReLU()(x), L.ReLU(max_value=1.0, negative_slope=0.1)(x), L.Softmax()(x)]
    return make(i, f32(2)(L.Concatenate()(parts)), O.SGD(0.02)), d.f(6), d.f(2)


@family("ops", n=6, batch=3)
def _(d, short):
    i = I((4, 6))
    x = L.Dense(6)(i)
    parts = [ops.mean(x, axis=1), ops.sum(x, axis=1) * 0.5, ops.max(x, axis=1), ops.var(x, axis=1), ops.std(x, axis=2),
             ops.logsumexp(x, axis=1), ops.matmul(x, ops.transpose(x, (0, 2, 1)))[:, :, 0], ops.einsum("bij,bkj->bi", x, x) * 0.1,
             ops.sqrt(ops.abs(x) + 1)[:, 0], ops.exp(x)[:, 1], x[:, 2] + i[:, 2], ops.softmax(x)[:, 0], ops.cumsum(x, axis=1)[:, 3],
             ops.sort(x, axis=-1)[:, 2], ops.where(x > 0, x, 0.1)[:, 3], ops.clip(x, -0.5, 0.5)[:, 2], ops.norm(x, axis=1),
             ops.power(ops.abs(x) + 0.5, 1.5)[:, 0], ops.maximum(x, 0.3)[:, 1], ops.rsqrt(ops.square(x) + 1)[:, 2],
             ops.moments(x, axes=[1])[0], ops.moments(x, axes=[1])[1], ops.normalize(x)[:, 0], ops.take(x, np.array([1, 0]), axis=1)[:, 0],
             ops.layer_normalization(x, axis=-1)[:, 1], ops.average(x, axis=1), ops.prod(x, axis=1), ops.median(x, axis=1)]
    parts = [L.Flatten()(p) if len(p.shape) > 2 else p for p in parts]
    return make(i, f32(2)(L.Concatenate()(parts)), O.SGD(0.02)), d.f(4, 6), d.f(2)


@family("merge_pool", n=6, batch=3)
def _(d, short):
    i, j = I((6, 4), name="a"), I((6, 4), name="b")
    x, y = L.Dense(4)(i), L.Dense(4, dtype="float32")(j)
    parts = [L.Add()([x, y]), L.Subtract()([x, y]), L.Multiply()([x, y]), L.Average()([x, y]), L.Maximum()([x, y]),
             L.Minimum()([x, y]), L.Concatenate()([x, y]), L.AveragePooling1D(2, strides=1, padding="same")(x), L.ZeroPadding1D(1)(x)[:, 1:7],
             L.Cropping1D(1)(L.ZeroPadding1D(1)(y))]
    p = L.Concatenate()(parts)
    z = L.Concatenate()([L.GlobalAveragePooling1D()(p), L.GlobalMaxPooling1D()(p), L.Dot(axes=2)([x, y])[:, 0]])
    return make([i, j], f32(2)(z), O.SGD(0.02)), dict(a=d.f(6, 4), b=d.f(6, 4)), d.f(2)


@family("output_16_bits", "f16 bf16", n=13, batch=5)
def _(d, short):
    i = I((6,))
    x = chain(i, L.Dense(8, "relu", kernel_regularizer=R.L2(0.01), activity_regularizer=R.L2(0.02)), L.Dense(4, "softmax"))
    return make(i, x, O.SGD(0.05), "categorical_crossentropy", ["accuracy", "mse"]), d.f(6), d.onehot(4)


@family("binary_16_bits", "f16 bf16", n=13, batch=5)
def _(d, short):
    i = I((6,))
    x = chain(i, L.Dense(8, "tanh", kernel_constraint="max_norm"), L.Dense(1, "sigmoid"))
    y = (d.f(1) > 0).astype("float32")
    return make(i, x, O.Adam(0.02), "binary_crossentropy", ["accuracy", keras.metrics.AUC(), "mae"]), d.f(6), y


@family("pure", "half", n=13, batch=5, jax=False)
def _(d, short):
    i = I((6,))
    x = chain(i, L.Dense(8, "relu"), L.BatchNormalization(), L.Dense(8, "tanh"), L.Dense(3))
    return make(i, x, O.SGD(0.05, momentum=0.9)), d.f(6), d.f(3)


@family("pure_adam", "f64 half", n=13, batch=5)
def _(d, short):
    i = I((6,))
    x = chain(i, L.Dense(8, "relu"), L.Dense(3))
    return make(i, x, O.Adam(0.01, epsilon=1e-3, clipnorm=0.5), "mae", ["mse"]), d.f(6), d.f(3)


@case("mixed", "every_policy", n=13, batch=5, floor="mixed_bfloat16")
def _(d):
    i = I((6,))
    x = chain(i, L.Dense(8, "relu", dtype="mixed_bfloat16"), L.Dense(8, "relu", dtype="float64"), L.Dense(7, "tanh", dtype="mixed_float16"),
              L.LayerNormalization(dtype="float16"), L.Dense(6, dtype="float32"), L.BatchNormalization(dtype="mixed_bfloat16"),
              L.Dense(2, dtype="float64"))
    return make(i, x, O.SGD(0.1)), d.f(6), d.f(2)


@case("mixed", "policy_map", n=6, batch=3, floor="mixed_bfloat16")
def _(d):
    P = keras.dtype_policies.DTypePolicyMap(default_policy="mixed_bfloat16")
    P["attend/query"] = keras.DTypePolicy("float32")
    P["attend/(key|val.e)"] = keras.DTypePolicy("mixed_float16")
    P["dense"] = keras.DTypePolicy("mixed_float16")
    i = I((5, 6))
    x = L.MultiHeadAttention(2, 3, name="attend", dtype=P)(i, i)
    x = chain(x, L.Dense(4, "relu", name="dense", dtype=P), L.Flatten(dtype="float32"), f32(2))
    return make(i, x, O.SGD(0.05)), d.f(5, 6), d.f(2)


def scaled(inner, **kw):
    return O.LossScaleOptimizer(inner, **kw)


def scaled_model(d, optimizer):
    keras.config.set_dtype_policy("mixed_float16")
    i = I((6,))
    x = chain(i, L.Dense(8, "relu"), L.BatchNormalization(), L.Dense(4, "tanh"), f32(3))
    return make(i, x, optimizer), d.f(6), d.f(3)


@case("mixed", "scaler_growth", n=13, batch=3, epochs=4, floor="mixed_float16", note="doubles until it overflows")
def _(d):
    return scaled_model(d, scaled(O.SGD(0.1, momentum=0.9), initial_scale=2.0 ** 14, dynamic_growth_steps=2))


@case("mixed", "scaler_adam_clip", n=13, batch=5, epochs=3, floor="mixed_float16")
def _(d):
    return scaled_model(d, scaled(O.Adam(0.02, global_clipnorm=0.3, weight_decay=0.01), initial_scale=2.0 ** 18, dynamic_growth_steps=4))


@case("mixed", "scaler_accumulate_ema", n=13, batch=3, epochs=4, floor="mixed_float16")
def _(d):
    inner = O.SGD(0.1, gradient_accumulation_steps=2, use_ema=True, ema_momentum=0.8, clipvalue=0.05)
    return scaled_model(d, scaled(inner, initial_scale=2.0 ** 18, dynamic_growth_steps=3))


@case("mixed", "scaler_nadam", n=13, batch=5, epochs=3, floor="mixed_float16")
def _(d):
    return scaled_model(d, scaled(O.Nadam(0.02), initial_scale=2.0 ** 17, dynamic_growth_steps=3))


@case("mixed", "scale_fixed", n=13, batch=5, epochs=2, floor="mixed_float16")
def _(d):
    return scaled_model(d, O.SGD(0.1, loss_scale_factor=512.0, clipnorm=0.5))


@case("mixed", "scaler_float32", n=13, batch=5, epochs=2)
def _(d):
    i = I((6,))
    return make(i, chain(i, L.Dense(8, "relu"), L.Dense(3)), scaled(O.RMSprop(0.01), dynamic_growth_steps=2)), d.f(6), d.f(3)
