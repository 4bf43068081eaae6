"""Models of Keras 2 made of functions of TensorFlow, and of layers that only it has, trained: their gradients count too.
Run: python corpus.py build2 keras2_function_cases.py --out more, then tol."""
from corpus import case
import numpy as np
import tensorflow as tf
import tf_keras as k
l = k.layers
O = k.optimizers
K = k.backend


def fin(i, x, rate=0.01):
    m = k.Model(i, x)
    m.compile(O.SGD(rate), "mse")
    return m


def C(name, **kw):
    return case("more", "keras2_" + name, keras2=True, **kw)


def const(*shape):
    return tf.constant(np.random.default_rng(7).standard_normal(shape).astype("float32") * 0.3)


@C("functions_arithmetic", n=6, batch=3)
def _(d):
    i = k.Input((5, 4))
    x = l.Dense(4, name="first")(i)
    p = tf.nn.softplus(x) + 0.2
    parts = [tf.nn.softmax(x, axis=1), tf.nn.log_softmax(x, axis=1), tf.nn.gelu(x, approximate=True), tf.nn.leaky_relu(x, alpha=0.3),
             tf.math.xlogy(x, p), tf.math.xlog1py(x, p), tf.math.xdivy(x, p), tf.math.reciprocal_no_nan(p), tf.math.erfc(x),
             tf.cumsum(x, axis=1, exclusive=True), tf.cumsum(x, axis=1, reverse=True), tf.math.cumprod(x, axis=2, reverse=True, exclusive=True),
             tf.sort(x, axis=1, direction="DESCENDING"), tf.roll(x, shift=2, axis=1), tf.truncatediv(x * 3.0, p), tf.math.scalar_mul(1.5, x),
             tf.nn.batch_normalization(x, const(4), tf.abs(const(4)) + 0.5, const(4), None, 1e-3), tf.clip_by_norm(x, 1.0, axes=[1, 2]),
             tf.linalg.normalize(x, axis=-1)[0], tf.nn.moments(x, axes=[1], keepdims=True)[1] * x, tf.slice(x, [0, 1, 0], [-1, 3, 4])[:, :1] + x,
             tf.broadcast_to(x[:, :1], [tf.shape(x)[0], 5, 4]), tf.ones([tf.shape(x)[0], 5, 4]) * x, tf.nn.crelu(x)[..., :4],
             tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.nn.sigmoid(p), logits=x), tf.math.reduce_euclidean_norm(x, axis=1, keepdims=True) * p,
             tf.linalg.band_part(tf.matmul(x, x, transpose_a=True), 1, 0)[:, :1] * x, tf.linalg.diag(x[:, 0])[:, :1] + x,
             tf.linalg.set_diag(tf.matmul(x, x, transpose_a=True), x[:, 0])[:, 1:2] + x, tf.nn.local_response_normalization(x[:, None], depth_radius=1, alpha=0.5)[:, 0],
             K.softmax(x, axis=1), K.hard_sigmoid(x), K.l2_normalize(x, axis=1)]
    return fin(i, l.Dense(2)(l.Flatten()(tf.add_n(parts))), 0.0005), d.f(5, 4), d.f(2)


@C("functions_images", n=4, batch=2, train=False)
def _(d):
    i = k.Input((6, 6, 3))
    x = tf.nn.sigmoid(l.Conv2D(3, 3, padding="same")(i))
    a = tf.nn.conv2d(x, const(3, 3, 3, 4), strides=[1, 2, 2, 1], padding="SAME")
    b = tf.nn.depthwise_conv2d(x, const(3, 3, 3, 1), strides=[1, 1, 1, 1], padding="SAME")
    c = tf.nn.separable_conv2d(x, const(3, 3, 3, 2), const(1, 1, 6, 3), strides=[1, 1, 1, 1], padding="SAME")
    e = tf.nn.max_pool2d(x, 2, 2, "VALID")
    f = tf.nn.avg_pool2d(x, ksize=[1, 3, 3, 1], strides=[1, 2, 2, 1], padding="SAME")
    g = tf.concat([a, e, f], -1)
    same = [tf.image.flip_left_right(x), tf.image.flip_up_down(x), tf.image.transpose(x), tf.image.rot90(x), tf.image.adjust_brightness(x, 0.2),
            tf.image.adjust_contrast(x, 1.5), tf.image.adjust_gamma(x, 1.7, 0.9), tf.image.per_image_standardization(x), tf.image.rgb_to_yuv(x),
            tf.image.yiq_to_rgb(x), tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(x)), tf.image.resize(tf.image.resize(x, (9, 8)), (6, 6)),
            tf.image.pad_to_bounding_box(tf.image.crop_to_bounding_box(x, 1, 2, 3, 4), 1, 1, 6, 6), b, c]
    y = tf.nn.space_to_depth(tf.add_n(same), 2)
    total = tf.image.total_variation(x)[:, None]
    return fin(i, l.Dense(2)(l.Concatenate()([l.Flatten()(g), l.Flatten()(y), total])), 0.001), d.f(6, 6, 3), d.f(2)


@C("functions_indices", n=6, batch=3)
def _(d):
    i = k.Input((5, 4))
    j = k.Input((3,), dtype="int32", name="j")
    x = l.Dense(4)(i)
    first = tf.squeeze(j[:, :1], axis=1)
    parts = [tf.gather(x, j, axis=1, batch_dims=1), tf.gather(x, first, axis=1, batch_dims=1)[:, None] + x[:, :3], tf.gather(x, [0, 2, 2], axis=1),
             tf.one_hot(j, 4, on_value=2.0, off_value=-1.0),
             tf.cast(tf.bitwise.bitwise_xor(j, 1), tf.float32)[..., None] * x[:, :3], tf.sequence_mask(first, 3, dtype=tf.float32)[..., None] * x[:, 1:4]]
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=first, logits=x[:, 0])
    return fin([i, j], l.Dense(2)(l.Concatenate()([l.Flatten()(tf.add_n(parts)), loss[:, None]])), 0.005), {i.name: d.f(5, 4), "j": d.i(4, 3)}, d.f(2)

@C("renormalized", n=6, batch=3)
def _(d):
    from tf_keras.src.layers.normalization.batch_normalization_v1 import BatchNormalization
    i = k.Input((3, 4))
    x = BatchNormalization(renorm=True, renorm_clipping=dict(rmax=1.5, rmin=0.7, dmax=0.5), renorm_momentum=0.9)(l.Dense(4)(i))
    x = l.TimeDistributed(l.BatchNormalization())(l.Reshape((3, 2, 2))(x))
    return fin(i, l.Dense(2)(l.Flatten()(x))), d.f(3, 4), d.f(2)

@C("locally_connected", n=5, batch=3)
def _(d):
    i = k.Input((5, 4, 2), name="i"); s = k.Input((6, 2), name="s")
    a = l.LocallyConnected2D(3, (2, 3), strides=(2, 1), activation="tanh", kernel_regularizer="l2")(i)
    b = l.LocallyConnected2D(2, (3, 2), strides=(1, 2), padding="same", implementation=2)(i)
    c = l.LocallyConnected2D(2, 2, data_format="channels_first")(i)
    e = l.LocallyConnected2D(2, (2, 1), data_format="channels_first", implementation=2)(i)
    f = l.LocallyConnected1D(3, 2, use_bias=False)(s)
    g = l.LocallyConnected1D(2, 3, strides=2, padding="same", implementation=2)(s)
    h = l.LocallyConnected1D(2, 2, strides=2, data_format="channels_first", bias_initializer="ones")(l.Permute((2, 1))(s))
    return fin([i, s], l.Dense(2)(l.Concatenate()([l.Flatten()(t) for t in (a, b, c, e, f, g, h)]))), {"i": d.f(5, 4, 2), "s": d.f(6, 2)}, d.f(2)

@C("lgamma", n=4, batch=2)
def _(d):
    i = k.Input((4,))
    x = l.Dense(4)(i)
    p = tf.nn.softplus(x) + 0.3
    return fin(i, l.Dense(2)(l.Concatenate()([tf.math.lgamma(p), tf.math.digamma(p), tf.math.digamma(tf.tanh(x) * 0.3 - 3.5) * 0.1]))), d.f(4), d.f(2)

@C("steps_first", n=5, batch=2)
def _(d):
    i = k.Input((6, 3))
    x, kw = tf.transpose(i, [1, 0, 2]), dict(time_major=True)
    y = l.LSTM(3, return_sequences=True, **kw)(x)
    z, h = l.GRU(2, return_state=True, go_backwards=True, reset_after=False, **kw)(y)
    b = l.Bidirectional(l.SimpleRNN(2, return_sequences=True, **kw))(x)
    r = l.RNN([l.GRUCell(2), l.LSTMCell(3)], return_sequences=True, **kw)(x)
    back = [tf.transpose(t, [1, 0, 2]) for t in (y, b, r)]
    cut = [tf.strided_slice(back[0], [0, 1, 0], [0, 5, 3], [1, 2, 1], begin_mask=1, end_mask=1), tf.strided_slice(back[1], [0, -1, 3], [0, 0, 0], [1, -2, -1], begin_mask=1, end_mask=3),
           tf.strided_slice(back[2], [0, 0, 1], [0, 0, 2], [1, 1, 1], ellipsis_mask=1, new_axis_mask=2, shrink_axis_mask=4)]
    return fin(i, l.Dense(2)(l.Concatenate()([l.Flatten()(t) for t in cut] + [z, h]))), d.f(6, 3), d.f(2)

@C("opt_nadam", n=10, batch=2)
def _(d):
    i = k.Input((3,))
    m = k.Model(i, l.Dense(2)(l.Dense(3, "tanh")(l.Dense(4, "tanh")(i))))
    m.compile(O.Nadam(0.05), "mse", metrics=["mae"])
    return m, d.f(3), d.f(2)

@C("opt_leg_nadam", n=6, batch=3)
def _(d):
    tf.config.run_functions_eagerly(True)  # this optimizer trains in no tf.function of today's TensorFlow
    i = k.Input((3,))
    m = k.Model(i, l.Dense(2)(l.Dense(3, activation="tanh")(i)))
    m.compile(O.legacy.Nadam(0.02, beta_1=0.8, clipnorm=0.5), "mse")
    return m, d.f(3), d.f(2)

@C("bidirectional_states", n=4, batch=2)
def _(d):
    tf.config.run_functions_eagerly(True)
    i = k.Input((3, 2), name="i"); s = k.Input((2,), name="s"); t = k.Input((2,), name="t")
    return fin([i, s, t], l.Dense(2)(l.Bidirectional(l.GRU(2))(i, initial_state=[s, t]))), {"i": d.f(3, 2), "s": d.f(2), "t": d.f(2)}, d.f(2)

@C("functions_scatter", n=5, batch=5)
def _(d):
    tf.config.run_functions_eagerly(True)
    i = k.Input((3, 4))
    x = l.Dense(4)(i)
    t = tf.transpose(x, [1, 0, 2])
    back = lambda y: tf.transpose(y, [1, 0, 2])
    parts = [tf.gather_nd(x, tf.stack([tf.range(tf.shape(x)[0]), tf.cast(tf.argmax(x[:, :, 0], 1), tf.int32)], 1))[:, None] * x,
             tf.gather_nd(x, tf.stack([tf.argmax(x[:, :, 0], 1), tf.argmin(x[:, :, 1], 1)], -1), batch_dims=1)[:, None, None] + x,
             tf.transpose(tf.scatter_nd([[1], [2], [1]], tf.transpose(x, [1, 2, 0]), [3, 4, tf.shape(x)[0]]), [2, 0, 1]),
             back(tf.tensor_scatter_nd_update(t, [[1]], t[:1] * 2.0)), back(tf.tensor_scatter_nd_add(t, [[0], [2], [0]], t)), back(tf.tensor_scatter_nd_sub(t, [[0], [2]], t[:2])),
             back(tf.tensor_scatter_nd_max(t, [[1]], t[:1])), back(tf.tensor_scatter_nd_min(t, [[2]], t[:1])),
             back(tf.math.unsorted_segment_mean(t, [0, 2, 0], 3)), back(tf.math.unsorted_segment_sqrt_n(t, [0, 2, 0], 3)),
             tf.reverse_sequence(x, tf.cast(tf.abs(x[:, 0, 0]) * 3.0, tf.int32) % 4, seq_axis=1), x * x[0] + x[-1], tf.gather(x, 1)[None] * x,
             k.backend.switch(x[:, :, 0] > 0, x * 2.0, x * 0.5), k.backend.switch(x > 0.1, x, -x),
             x * tf.cast(tf.range(tf.shape(x)[2]), tf.float32) + tf.eye(tf.shape(x)[1], tf.shape(x)[2]) + tf.reshape(tf.cast(tf.range(tf.shape(x)[0]), tf.float32), (-1, 1, 1)),
             tf.reshape(tf.reshape(x, [tf.shape(x)[0], tf.shape(x)[1] * 2, tf.shape(x)[2] // 2]), [-1, 3, tf.shape(x)[2] - tf.constant(0)])]
    picked = tf.ensure_shape(tf.boolean_mask(x, [True, False, True], axis=1), [None, 2, 4])
    return fin(i, l.Dense(2)(l.Concatenate()([l.Flatten()(p) for p in parts + [picked]])), 0.002), d.f(3, 4), d.f(2)

@C("functions_fitting", n=4, batch=2)
def _(d):
    tf.config.run_functions_eagerly(True)
    i = k.Input((5, 4, 2)); s = k.Input((3, 2), name="s")
    x = l.Dense(2)(i)
    c = lambda *shape: tf.constant(np.linspace(-0.4, 0.5, int(np.prod(shape))).reshape(shape).astype("float32"))
    parts = [tf.image.central_crop(x, 0.6), tf.image.resize_with_crop_or_pad(x, 2, 7), tf.image.resize_with_pad(x, 3, 7), tf.image.resize_with_pad(x, 7, 2)]
    parts += list(tf.image.image_gradients(x)) + [tf.nn.pool(x, [2, 2], "MAX", strides=[1, 1]), tf.nn.pool(x, [2, 2], "AVG", padding="SAME")]
    parts += [tf.nn.conv2d_transpose(x, c(3, 3, 1, 2), [tf.shape(x)[0], 9, 8, 1], strides=2), tf.nn.conv2d_transpose(x, c(2, 2, 1, 2), [tf.shape(x)[0], 11, 9, 1], strides=[2, 2], padding="VALID"),
              tf.nn.conv1d_transpose(s, c(3, 2, 2), [tf.shape(s)[0], 7, 2], strides=3, padding="SAME"), tf.nn.atrous_conv2d_transpose(x, c(2, 2, 1, 2), [tf.shape(x)[0], 5, 4, 1], rate=2, padding="SAME")]
    rgb = tf.nn.sigmoid(tf.concat([x, x[..., :1]], -1))
    hues = tf.stop_gradient(tf.image.adjust_hue(rgb, -0.4) + tf.image.adjust_saturation(rgb, 1.7)) * rgb
    return fin([i, s], l.Dense(2)(l.Concatenate()([l.Flatten()(p) for p in parts + [hues]])), 0.005), {i.name: d.f(5, 4, 2), "s": d.f(3, 2)}, d.f(2)

@C("functions_losses", n=4, batch=2)
def _(d):
    tf.config.run_functions_eagerly(True)
    i = k.Input((3, 4))
    x = l.Dense(4)(i)
    p, q, L = tf.nn.softmax(x), tf.nn.softmax(2.0 * x), k.losses
    parts = [L.mean_squared_error(x, x * 2.0), L.binary_crossentropy(tf.nn.sigmoid(x), tf.nn.sigmoid(x * 2.0)), L.huber(x, x * 3.0), L.log_cosh(x, x * 3.0), L.kl_divergence(p, q), L.hinge(x, x * 2.0),
             L.squared_hinge(x, x * 2.0), L.categorical_hinge(x, x * 2.0), L.cosine_similarity(x, x * x), L.categorical_crossentropy(p, 2.0 * x, from_logits=True, label_smoothing=0.1),
             L.sparse_categorical_crossentropy(tf.argmax(x, -1), q), L.binary_focal_crossentropy(tf.nn.sigmoid(x), tf.nn.sigmoid(2.0 * x)), L.categorical_focal_crossentropy(p, q, alpha=0.3, gamma=1.5),
             tf.math.polyval([x, x * 0.5, 2.0], x)[..., 0], tf.math.ndtri(p)[..., 0], tf.math.erfcinv(p + 0.3)[..., 1], tf.stop_gradient(tf.math.digamma(p + 0.5))[..., 0] * x[..., 1],
             tf.linalg.eigvalsh(tf.matmul(x, x, transpose_b=True)) + tf.stop_gradient(k.metrics.categorical_accuracy(x, x[:, ::-1]))]
    parts += [l.Flatten()(m) for m in tf.nn.weighted_moments(x, [1], tf.abs(x) + 0.1)]
    return fin(i, l.Dense(2)(l.Concatenate()(parts)), 0.005), d.f(3, 4), d.f(2)

@C("layer_settings", n=4, batch=2)
def _(d):
    tf.config.run_functions_eagerly(True)
    i = k.Input((4, 3, 2), name="i"); s = k.Input((5, 2), name="s")
    x = l.BatchNormalization(axis=[1, 3])(l.Dense(2)(i))
    ups = [l.UpSampling2D((2, 3), interpolation=m)(x) for m in ("gaussian", "mitchellcubic")] + [l.LocallyConnected2D(2, (2, 3), strides=(2, 1), implementation=3)(x)]
    y = l.experimental.SyncBatchNormalization()(s)
    y = l.SeparableConv1D(3, 2, padding="causal", dilation_rate=2)(y)
    bins = tf.cast(l.Discretization([-0.5, 0.0, 1.0])(s), tf.float32)
    ys = [y, l.LocallyConnected1D(2, 2, strides=2, padding="same", implementation=3)(y), l.LocallyConnected1D(2, 2, data_format="channels_first", implementation=3)(y), bins, l.BatchNormalization(axis=[1, 2], scale=False)(y)]
    return fin([i, s], l.Dense(2)(l.Concatenate()([l.Flatten()(t) for t in ups + ys])), 0.01), {"i": d.f(4, 3, 2), "s": d.f(5, 2)}, d.f(2)

@C("metric_names", n=6, batch=4)
def _(d):
    i = k.Input((3,))
    m = k.Model(i, [l.Dense(3, activation="softmax", name="a")(i), l.Dense(3, activation="softmax", name="b")(i)])
    m.compile(k.optimizers.SGD(0.05), {"a": k.losses.SparseCategoricalCrossentropy(ignore_class=2), "b": "kullback_leibler_divergence"},
              metrics={"a": [k.metrics.SparseCategoricalCrossentropy(ignore_class=1)], "b": ["log_cosh", "logcosh", "kullback_leibler_divergence", "cosine_proximity", "MSLE"]})
    return m, d.f(3), {"a": d.i(3), "b": d.f(3, lo=0.1, hi=1)}

@C("bidirectional_turned", n=4, batch=2)
def _(d):
    tf.config.run_functions_eagerly(True)
    i = k.Input((3, 2), name="i")
    x = l.Bidirectional(l.GRU(2, go_backwards=True, return_sequences=True), merge_mode="ave")(i)
    return fin(i, l.Dense(2)(l.Bidirectional(l.SimpleRNN(2, go_backwards=True))(x))), {"i": d.f(3, 2)}, d.f(2)

@C("functions_random", n=4, batch=4, train=False)
def _(d):
    """What is drawn has no spread: only mean and shape are left to compare."""
    i = k.Input((3, 2)); b = k.Input((3, 2), dtype="uint8", name="b")
    x = l.Dense(2)(i)
    c = lambda *shape: tf.constant(np.linspace(-0.4, 0.5, int(np.prod(shape))).reshape(shape).astype("float32"))
    n = tf.shape(x)
    parts = [x * tf.random.normal(n, 2.0, 0.0), x + tf.random.uniform((tf.shape(x)[0], 3, 2), 1.5, 1.5), x - tf.random.truncated_normal(n, -1.0, 0.0), K.random_normal(K.shape(x), 0.5, 0.0) * x, tf.nn.dropout(x, 0.0),
             K.dropout(x, 0.0), tf.image.convert_image_dtype(b, tf.float32) + x, tf.math.bessel_i0(x), tf.nn.conv_transpose(x, c(3, 3, 2), [tf.shape(x)[0], 9, 3], strides=3, padding="VALID"),
             tf.nn.conv3d_transpose(x[:, :, :, None, None], c(2, 2, 2, 3, 1), [tf.shape(x)[0], 6, 4, 2, 3], strides=2)]
    return k.Model([i, b], l.Concatenate()([l.Flatten()(p) for p in parts])), {i.name: d.f(3, 2), "b": d.i(200, 3, 2).astype("uint8")}, None
