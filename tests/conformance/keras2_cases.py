"""More models of Keras 2 (tf_keras): layers, functions of TensorFlow, losses, metrics, optimizers.
Run: python corpus.py build2 keras2_cases.py, then tol."""
from corpus import case
import tensorflow as tf
import tf_keras as k
l = k.layers
O = k.optimizers

def fin(i, x, opt=None, loss="mse", metrics=None, **kw):
    m = k.Model(i, x)
    m.compile(opt or O.SGD(0.05), loss, metrics=metrics, **kw)
    return m

def C(name, **kw):
    return case("keras2", name, keras2=True, **kw)

@C("activations")
def _(d):
    i = k.Input((6,))
    parts = [l.Dense(4, activation=a)(i) for a in ("elu", "selu", "gelu", "swish", "mish", "softplus", "softsign", "hard_sigmoid", "exponential", "relu", "tanh", "sigmoid", "softmax")]
    parts += [l.LeakyReLU()(l.Dense(3)(i)), l.ELU(0.7)(l.Dense(3)(i)), l.PReLU()(l.Dense(3)(i)), l.ThresholdedReLU(0.3)(l.Dense(3)(i)), l.ReLU(1.5, 0.1, 0.05)(l.Dense(3)(i)), l.Softmax()(l.Dense(3)(i))]
    return fin(i, l.Dense(2)(l.Concatenate()(parts)), O.SGD(0.001)), d.f(6), d.f(2)

@C("convs", n=7, batch=3)
def _(d):
    i = k.Input((9, 9, 3))
    a = l.SeparableConv2D(5, 3, depth_multiplier=2, padding="same", activation="relu")(i)
    b = l.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(i)
    c = l.Conv2DTranspose(4, 3, strides=1, padding="same")(i)
    e = l.Conv2D(4, 3, dilation_rate=2, padding="same", kernel_constraint=k.constraints.MaxNorm(1.0))(i)
    x = l.Concatenate()([a, b, c, e])
    x = l.BatchNormalization(momentum=0.8, scale=False)(x)
    x = l.ZeroPadding2D(((1, 0), (0, 1)))(x)
    x = l.AveragePooling2D(2)(x)
    x = l.UpSampling2D(2)(x)
    x = l.Cropping2D(1)(x)
    x = l.SpatialDropout2D(0.0)(x)
    x = l.GlobalAveragePooling2D()(x)
    return fin(i, l.Dense(3, activation="softmax")(x), O.SGD(0.05), "categorical_crossentropy", ["accuracy", k.metrics.AUC(name="auc")]), d.f(9, 9, 3), d.onehot(3)

@C("conv1d3d", n=7, batch=3)
def _(d):
    i = k.Input((12, 3), name="s"); j = k.Input((4, 4, 4, 2), name="v")
    x = l.Conv1D(4, 3, padding="causal", activation="relu")(i)
    x = l.SeparableConv1D(3, 3)(x)
    x = l.Conv1DTranspose(3, 3, strides=2)(x)
    x = l.MaxPooling1D(2)(x)
    x = l.BatchNormalization()(x)
    x = l.GlobalMaxPooling1D()(x)
    y = l.Conv3D(3, 2)(j)
    y = l.BatchNormalization()(y)
    y = l.Conv3DTranspose(2, 2)(y)
    y = l.Flatten()(y)
    o = l.Dense(2)(l.Concatenate()([x, y]))
    return fin([i, j], o, O.RMSprop(0.01, centered=True, momentum=0.5)), {"s": d.f(12, 3), "v": d.f(4, 4, 4, 2)}, d.f(2)

@C("norms", n=10, batch=4)
def _(d):
    i = k.Input((5, 6))
    x = l.LayerNormalization()(i)
    x = l.Dense(8)(x)
    x = l.GroupNormalization(4)(x)
    x = l.UnitNormalization()(x)
    x = l.BatchNormalization(axis=-1)(x)
    x = l.Flatten()(x)
    return fin(i, l.Dense(2)(x), O.Adam(0.01)), d.f(5, 6), d.f(2)

@C("attention_stack", n=8, batch=4)
def _(d):
    i = k.Input((5,), dtype="int32"); j = k.Input((6, 7), name="j")
    x = l.Embedding(9, 8, mask_zero=True)(i)
    y = l.MultiHeadAttention(2, 4)(x, j)
    y = l.Add()([x, y])
    z = l.MultiHeadAttention(2, 3, value_dim=5)(y, y, use_causal_mask=True)
    w = l.Attention(use_scale=True)([z, y])
    w = l.AdditiveAttention()([w, y])
    w = l.GlobalAveragePooling1D()(w)
    m = k.Model([i, j], l.Dense(1)(w))
    m.compile(O.AdamW(0.01), k.losses.Huber(0.5), metrics=["mae", k.metrics.RootMeanSquaredError()])
    return m, {i.name: d.tokens(9, 5), "j": d.f(6, 7)}, d.f(1)

@C("rnn_states", n=8, batch=4)
def _(d):
    i = k.Input((5, 3), name="i"); h = k.Input((4,), name="h"); c = k.Input((4,), name="c")
    x, sh, sc = l.LSTM(4, return_sequences=True, return_state=True)(i, initial_state=[h, c])
    y = l.GRU(4, reset_after=False, return_sequences=True)(x, initial_state=sh)
    z = l.SimpleRNN(3, go_backwards=True)(y)
    w = l.RNN(l.LSTMCell(3))(y)
    u = l.TimeDistributed(l.Dense(3, activation="relu"))(y)
    v = l.Bidirectional(l.GRU(2), merge_mode="sum")(u)
    return fin([i, h, c], l.Dense(2)(l.Concatenate()([z, w, v, sc]))), {"i": d.f(5, 3), "h": d.f(4), "c": d.f(4)}, d.f(2)

@C("nested", n=9, batch=4)
def _(d):
    inner_i = k.Input((6,), name="inner_in")
    inner = k.Model(inner_i, [l.Dense(4, activation="relu")(inner_i), l.Dense(3)(inner_i)], name="inner")
    seq = k.Sequential([k.Input((4,)), l.Dense(5), l.BatchNormalization()], name="seq")
    seq2 = k.Sequential([l.Dense(4), l.ReLU()], name="seq2")
    a = k.Input((6,), name="a"); b = k.Input((6,), name="b")
    a1, a2 = inner(a); b1, b2 = inner(b)
    x = l.Concatenate()([seq(a1), seq(b1), seq2(a2), seq2(b2)])
    x = l.Dense(6, name="mid")(x)
    x1, _ = inner(x)
    m = k.Model([a, b], [l.Dense(2, name="p")(x1), l.Dense(1, activation="sigmoid", name="q")(x)])
    m.compile("adam", ["mse", "binary_crossentropy"], metrics=["mae"], loss_weights=[0.3, 1.0])
    return m, {"a": d.f(6), "b": d.f(6)}, {"p": d.f(2), "q": d.bin(1)}

@C("frozen_training_flag", n=9, batch=4)
def _(d):
    i = k.Input((6,))
    base = k.Sequential([k.Input((6,)), l.Dense(5), l.BatchNormalization()], name="base")
    x = base(i, training=False)
    bn = l.BatchNormalization(); bn.trainable = False
    x = bn(l.Dense(4)(x))
    x = l.BatchNormalization()(x)
    return fin(i, l.Dense(2)(x), O.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01)), d.f(6), d.f(2)

@C("tf_arithmetic")
def _(d):
    i = k.Input((6,))
    x = l.Dense(6)(i)
    y = 2.0 - x * 3.0 + x / 2.0 + 1.0 / (tf.abs(x) + 1.0)
    y = y + tf.math.squared_difference(x, 0.5) + tf.maximum(x, 0.1) + tf.nn.leaky_relu(x, 0.3) + tf.nn.relu6(x)
    y = y + tf.nn.gelu(x) + tf.nn.swish(x) + tf.math.softplus(x) + tf.nn.elu(x) + tf.square(x) ** 1.5
    y = y + tf.nn.l2_normalize(x, axis=-1) + tf.norm(x, axis=-1, keepdims=True) + tf.nn.softmax(x) + tf.nn.log_softmax(x)
    y = y * tf.constant([1., 2., 3., 4., 5., 6.]) + tf.add_n([x, y]) + tf.clip_by_value(x, -0.5, 0.5) + (-x)
    y = tf.where(x > 0, y, x) + tf.math.divide_no_nan(x, tf.nn.relu(x)) + tf.nn.bias_add(x, tf.constant([.1, .2, .3, .4, .5, .6]))
    y = y + tf.cast(x > 0.2, tf.float32) + tf.exp(tf.minimum(x, 1.0)) + tf.math.log(tf.abs(x) + 1.0) + tf.sqrt(tf.abs(x) + 0.1)
    y = y + k.activations.hard_sigmoid(x) + tf.math.rsqrt(tf.square(x) + 1.0) + tf.stop_gradient(x) * x + tf.identity(x)
    return fin(i, l.Dense(2)(y * 0.1), O.SGD(0.01)), d.f(6), d.f(2)

@C("tf_shapes")
def _(d):
    i = k.Input((4, 6))
    x = l.Dense(6)(i)
    a = tf.reshape(x, (tf.shape(x)[0], 24))
    b = tf.reshape(tf.reshape(x, (-1, tf.shape(x)[1] * 6)), (-1, 24))
    c = tf.transpose(x, [0, 2, 1])
    e = tf.matmul(x, c)
    f = tf.matmul(x, x, transpose_b=True)
    g1, g2 = tf.split(x, 2, axis=-1)
    h1, h2 = tf.split(x, [1, 3], axis=1)
    u = tf.unstack(x, axis=1)
    s = tf.stack([u[0], u[3]], axis=1)
    q = tf.squeeze(x[:, :1], 1) + tf.expand_dims(x[:, 1], 1)[:, 0]
    r = tf.reduce_max(x, axis=1) + tf.reduce_sum(x, axis=1) + tf.math.reduce_std(x, 1) + tf.reduce_mean(x[:, 1:3], axis=1)
    w = tf.reverse(x, [1])[..., 0]
    fl = [l.Flatten()(t) for t in (e, f, g1 * g2, h1, h2, s)]
    z = tf.concat([a, b, q, r, w] + fl, axis=-1)
    z = tf.reshape(z, (tf.shape(z)[0], 24 + 24 + 6 + 6 + 4 + 16 + 16 + 12 + 6 + 18 + 12))
    return fin(i, l.Dense(2)(tf.math.tanh(z))), d.f(4, 6), d.f(2)

@C("tf_more")
def _(d):
    i = k.Input((4, 6))
    x = l.Dense(6)(i)
    a = tf.pad(x, [[0, 0], [1, 1], [0, 0]])
    b = tf.tile(x, [1, 2, 1])
    c = tf.repeat(x, 2, axis=1)
    e = tf.gather(x, [0, 2], axis=1)
    f = tf.cumsum(x, axis=1)
    g = tf.reduce_logsumexp(x, 1)
    h = tf.one_hot(tf.argmax(x, axis=-1), 6)
    j = x
    o = tf.ones_like(x) + tf.zeros_like(x) + tf.round(x) + tf.math.floormod(x, 2.0) + tf.floor(x)
    fl = [l.Flatten()(t) for t in (a, b, c, e, f, g, h, j, o)]
    return fin(i, l.Dense(2)(l.Concatenate()(fl)), O.SGD(0.001)), d.f(4, 6), d.f(2)

@C("losses", n=11, batch=4)
def _(d):
    i = k.Input((6,))
    x = l.Dense(8, activation="tanh")(i)
    outs, losses, ys = [], {}, {}
    sig = dict(bce="binary_crossentropy", bce2=k.losses.BinaryCrossentropy(label_smoothing=0.1), bfc=k.losses.BinaryFocalCrossentropy(), poi="poisson", msle="msle")
    for n, f in sig.items():
        outs.append(l.Dense(2, activation="sigmoid", name=n)(x)); losses[n] = f; ys[n] = d.bin(2)
    lin = dict(mae="mae", mape="mape", huber=k.losses.Huber(), logcosh="log_cosh", hinge="hinge", sqh="squared_hinge", cos="cosine_similarity", blog=k.losses.BinaryCrossentropy(from_logits=True))
    for n, f in lin.items():
        outs.append(l.Dense(2, name=n)(x)); losses[n] = f; ys[n] = d.bin(2) + (0.5 if n == "mape" else 0)
    sm = dict(cce="categorical_crossentropy", kld="kld", ch="categorical_hinge", cce2=k.losses.CategoricalCrossentropy(label_smoothing=0.1))
    for n, f in sm.items():
        outs.append(l.Dense(3, activation="softmax", name=n)(x)); losses[n] = f; ys[n] = d.onehot(3)
    outs.append(l.Dense(3, activation="softmax", name="scce")(x)); losses["scce"] = "sparse_categorical_crossentropy"; ys["scce"] = d.i(3)
    outs.append(l.Activation("sigmoid", name="act")(l.Dense(2)(x) * 2.0)); losses["act"] = "binary_crossentropy"; ys["act"] = d.bin(2)
    outs.append(l.Activation("linear", name="mixed")(tf.nn.sigmoid(l.Dense(2)(x)) * 0.5 + 0.2)); losses["mixed"] = "binary_crossentropy"; ys["mixed"] = d.bin(2)
    m = k.Model(i, outs)
    m.compile(O.SGD(0.02), losses)
    return m, d.f(6), ys

@C("metrics", n=14, batch=4)
def _(d):
    M = k.metrics
    i = k.Input((6,))
    x = l.Dense(8, activation="tanh")(i)
    m = k.Model(i, [l.Dense(1, activation="sigmoid", name="b")(x), l.Dense(4, activation="softmax", name="c")(x), l.Dense(4, activation="softmax", name="s")(x), l.Dense(2, name="r")(x)])
    m.compile(O.SGD(0.05), {"b": "binary_crossentropy", "c": "categorical_crossentropy", "s": "sparse_categorical_crossentropy", "r": "mse"},
      metrics={"b": ["accuracy", M.AUC(name="auc"), M.Precision(name="pr"), M.Recall(name="re"), M.TruePositives(name="tp"), M.FalseNegatives(name="fn")],
               "c": ["accuracy", M.CategoricalAccuracy(), M.TopKCategoricalAccuracy(2, name="top2"), M.F1Score(name="f1", average="macro"), M.KLDivergence()],
               "s": ["accuracy", "sparse_categorical_crossentropy", M.SparseTopKCategoricalAccuracy(2, name="top2")],
               "r": ["mae", "mse", M.RootMeanSquaredError(), M.CosineSimilarity(), M.R2Score(name="r2"), "mape"]})
    return m, d.f(6), {"b": d.bin(1), "c": d.onehot(4), "s": d.i(4), "r": d.f(2)}

@C("weighted", n=14, batch=4)
def _(d):
    i = k.Input((6,))
    m = k.Model(i, l.Dense(3, activation="softmax")(l.Dense(5, activation="relu")(i)))
    m.compile(O.Adam(O.schedules.ExponentialDecay(0.02, 3, 0.8)), "sparse_categorical_crossentropy", metrics=["accuracy"], weighted_metrics=["accuracy"])
    return m, d.f(6), d.i(3), d.w()

@C("regularized", n=10, batch=4)
def _(d):
    i = k.Input((6,))
    R = k.regularizers
    x = l.Dense(5, kernel_regularizer=R.L1L2(0.01, 0.02), bias_regularizer="l2", activity_regularizer=R.l1(0.01))(i)
    x = l.ActivityRegularization(0.01, 0.01)(x)
    x = l.Dense(4, kernel_regularizer=R.OrthogonalRegularizer(0.01), kernel_constraint="non_neg", bias_constraint=k.constraints.UnitNorm())(x)
    return fin(i, l.Dense(2)(x), O.Adagrad(0.05), metrics=["mse"]), d.f(6), d.f(2)

for n, o in dict(adadelta=lambda: O.Adadelta(0.5), adamax=lambda: O.Adamax(0.01), ftrl=lambda: O.Ftrl(0.05, l1_regularization_strength=0.01, l2_regularization_strength=0.01),
                 lion=lambda: O.Lion(0.003), adafactor=lambda: O.Adafactor(0.01), sgd_str=lambda: "sgd", rmsprop_str=lambda: "rmsprop",
                 sgd_clipv=lambda: O.SGD(0.1, clipvalue=0.05), adam_gclip=lambda: O.Adam(0.01, global_clipnorm=0.5), sgd_ema=lambda: O.SGD(0.1, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=None),
                 poly=lambda: O.SGD(O.schedules.PolynomialDecay(0.1, 5, 0.01, power=2.0)), cosine=lambda: O.SGD(O.schedules.CosineDecay(0.1, 5)), pc=lambda: O.SGD(O.schedules.PiecewiseConstantDecay([2, 4], [0.1, 0.05, 0.01])),
                 leg_sgd=lambda: O.legacy.SGD(0.1, momentum=0.9, decay=0.1), leg_adam=lambda: O.legacy.Adam(0.01, decay=0.05), leg_rmsprop=lambda: O.legacy.RMSprop(0.01), leg_adagrad=lambda: O.legacy.Adagrad(0.05)).items():
    @C("opt_" + n, n=9, batch=4)
    def _(d, o=o):
        i = k.Input((6,))
        return fin(i, l.Dense(2)(l.Dense(5, activation="tanh")(i)), o()), d.f(6), d.f(2)

@C("seq_masked_out", n=9, batch=4)
def _(d):
    i = k.Input((5, 3))
    x = l.Masking()(i)
    x = l.LSTM(4, return_sequences=True)(x)
    return fin(i, l.Dense(2)(x), O.SGD(0.1), metrics=["mae"]), d.padded(5, 3), d.f(5, 2)

@C("convlstm", n=6, batch=3)
def _(d):
    i = k.Input((3, 5, 5, 2))
    x = l.ConvLSTM2D(3, 3, padding="same", return_sequences=True)(i)
    x = l.ConvLSTM2D(2, 3)(x)
    return fin(i, l.Dense(2)(l.Flatten()(x))), d.f(3, 5, 5, 2), d.f(2)

@C("merge", n=9, batch=4)
def _(d):
    i = k.Input((4, 6))
    a, b = l.Dense(5)(i), l.Dense(5)(i)
    parts = [l.Add()([a, b]), l.Subtract()([a, b]), l.Multiply()([a, b]), l.Average()([a, b]), l.Maximum()([a, b]), l.Minimum()([a, b]), l.Concatenate(axis=1)([a, b]), l.Dot((2, 2))([a, b]), l.Dot(2, normalize=True)([a, b])]
    parts += [l.Permute((2, 1))(a), l.Reshape((-1,))(b), l.RepeatVector(2)(l.Flatten()(a)), l.Add()([a, b, a])]
    return fin(i, l.Dense(2)(l.Concatenate()([l.Flatten()(p) for p in parts]))), d.f(4, 6), d.f(2)

@C("mha_cross", n=8, batch=4)
def _(d):
    i = k.Input((5,), dtype="int32"); j = k.Input((6, 7), name="j")
    x = l.Embedding(9, 8, mask_zero=True)(i)
    y = l.MultiHeadAttention(2, 4)(x, j)
    return fin([i, j], l.Dense(1)(l.Flatten()(y))), {i.name: d.tokens(9, 5), "j": d.f(6, 7)}, d.f(1)

@C("mha_self", n=8, batch=4)
def _(d):
    i = k.Input((5,), dtype="int32")
    x = l.Embedding(9, 8, mask_zero=True)(i)
    y = l.MultiHeadAttention(2, 3, value_dim=5)(x, x, use_causal_mask=True)
    return fin(i, l.Dense(1)(l.GlobalAveragePooling1D()(l.Add()([x, y])))), d.tokens(9, 5), d.f(1)

@C("attention_masked", n=8, batch=4)
def _(d):
    i = k.Input((5,), dtype="int32")
    x = l.Embedding(9, 8, mask_zero=True)(i)
    y = l.Attention(use_scale=True)([x, x])
    return fin(i, l.Dense(1)(l.GlobalAveragePooling1D()(y))), d.tokens(9, 5), d.f(1)

@C("attention_additive", n=8, batch=4)
def _(d):
    i = k.Input((5,), dtype="int32")
    x = l.Embedding(9, 8, mask_zero=True)(i)
    y = l.AdditiveAttention()([x, x])
    return fin(i, l.Dense(1)(l.GlobalAveragePooling1D()(y))), d.tokens(9, 5), d.f(1)

@C("bce_of_probabilities", n=8, batch=4)
def _(d):
    i = k.Input((5,))
    return fin(i, tf.nn.sigmoid(l.Dense(2)(i)) * 0.5 + 0.2, loss="binary_crossentropy"), d.f(5), d.bin(2)

@C("binary_focal", n=8, batch=4)
def _(d):
    i = k.Input((5,))
    return fin(i, tf.nn.sigmoid(l.Dense(2)(i)) * 0.5 + 0.2, loss=k.losses.BinaryFocalCrossentropy()), d.f(5), d.bin(2)

@C("categorical_focal", n=8, batch=4)
def _(d):
    i = k.Input((5,))
    return fin(i, l.Dense(3, activation="softmax")(i), loss=k.losses.CategoricalFocalCrossentropy(), metrics=[k.metrics.CategoricalCrossentropy()]), d.f(5), d.onehot(3)

@C("wrappers", n=8, batch=4)
def _(d):
    i = k.Input((5, 4))
    x = l.RNN(l.StackedRNNCells([l.LSTMCell(3), l.GRUCell(4), l.SimpleRNNCell(2)]), return_sequences=True)(i)
    y = l.RNN([l.GRUCell(3), l.GRUCell(2)])(x)
    z = l.TimeDistributed(k.Sequential([k.Input((4,)), l.Dense(3)]))(i)
    w = l.Bidirectional(l.LSTM(2, return_sequences=True), backward_layer=l.GRU(2, go_backwards=True, return_sequences=True), merge_mode="mul")(z)
    return fin(i, l.Dense(2)(l.Concatenate()([y, l.Flatten()(w)]))), d.f(5, 4), d.f(2)

@C("embedding_float", n=8, batch=4)
def _(d):
    m = k.Sequential([l.Embedding(10, 4, input_length=5), l.Flatten(), l.Dense(2)])
    m.build((None, 5)); m.compile("sgd", "mse")
    return m, d.i(10, 5).astype("float32"), d.f(2)

@C("outputs_partial", n=9, batch=4)
def _(d):
    a = k.Input((4,), name="a")
    m = k.Model(a, [l.Dense(2, name="p")(a), l.Dense(2, name="q")(a)])
    m.compile("sgd", [k.losses.MeanSquaredError(), k.losses.MeanAbsoluteError(reduction="sum")], metrics=["mae"])
    return m, d.f(4), {"p": d.f(2), "q": d.f(2)}

@C("masks", n=8, batch=4)
def _(d):
    i = k.Input((5,), dtype="int32")
    x = l.Embedding(9, 4, mask_zero=True)(i)
    a = l.LSTM(3, return_sequences=True, go_backwards=False)(x)
    b = l.Dense(3)(x)
    c = l.Concatenate()([a, b])
    e = l.TimeDistributed(l.Dense(3))(c)
    s = l.Activation("softmax")(e)
    f = l.BatchNormalization()(s)
    g = l.Bidirectional(l.GRU(2, return_sequences=True))(f)
    h = g * 2.0
    return fin(i, l.Dense(1)(l.Concatenate()([l.GlobalAveragePooling1D()(g), l.GlobalMaxPooling1D()(h)])), O.Adam(0.01)), d.tokens(9, 5), d.f(1)

@C("channels", n=6, batch=3)
def _(d):
    i = k.Input((8, 8, 3))
    x = l.Conv2D(4, 3, activation="relu", bias_initializer="ones")(i)
    x = l.LayerNormalization(axis=[1, 2, 3])(x)
    x = l.BatchNormalization(center=False)(x)
    x = l.UpSampling2D(2, interpolation="bilinear")(x)
    x = l.MaxPooling2D(3, 2, "same")(x)
    x = l.GlobalMaxPooling2D(keepdims=True)(x)
    x = l.Reshape((-1,))(x)
    return fin(i, l.Dense(2)(x)), d.f(8, 8, 3), d.f(2)

@C("einsum_dense_dot", n=6, batch=3)
def _(d):
    i = k.Input((4, 6))
    x = l.Dense(6)(i)
    y = l.EinsumDense("abc,cd->abd", output_shape=(None, 5), bias_axes="d")(x)
    y = l.Dot((1, 1))([y, y])
    return fin(i, l.Dense(2)(l.Flatten()(y)), O.SGD(0.001)), d.f(4, 6), d.f(2)

