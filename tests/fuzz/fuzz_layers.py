"""Random layers: for each class, which tensors it takes and a random configuration of it. A choice that Keras refuses is
simply not taken; a row need only be right often."""
import json

ACTIVATIONS = ["relu", "relu6", "tanh", "sigmoid", "softplus", "elu", "selu", "silu", "gelu", "softsign", "hard_sigmoid",
               "hard_silu", "mish", "leaky_relu", "log_sigmoid", "celu", "hard_tanh", "squareplus", "tanh_shrink", "soft_shrink",
               "hard_shrink", "sparse_plus", "sparse_sigmoid", "softmax", "log_softmax", "linear", "sparsemax"]
INITIALIZERS = ["glorot_uniform", "glorot_normal", "he_uniform", "lecun_normal", "random_normal", "orthogonal", "zeros", "ones"]


def new(name, **config):
    return {"$new": name, "config": config}


def tensor(t):
    return {"$t": t}


def tensors_in(value, found):
    if isinstance(value, dict):
        if "$t" in value:
            found.add(value["$t"])
        for v in value.values():
            tensors_in(v, found)
    elif isinstance(value, list):
        for v in value:
            tensors_in(v, found)
    return found


class Choice:
    """Random choices of one seed."""

    def __init__(self, r):
        self.r = r

    def one(self, values):
        return values[int(self.r.integers(len(values)))]

    def int(self, low, high):
        return int(self.r.integers(low, high + 1))

    def real(self, low, high):
        return round(float(self.r.uniform(low, high)), 3)

    def chance(self, p):
        return bool(self.r.random() < p)

    def activation(self, p=0.6):
        return self.one(ACTIVATIONS) if self.chance(p) else None

    def regularizer(self):
        return self.one([new("regularizers.L1", l1=0.01), new("regularizers.L2", l2=0.02), new("regularizers.L1L2", l1=0.01, l2=0.03)])

    def constraint(self):
        return self.one([new("constraints.MaxNorm", max_value=self.real(0.5, 2), axis=0), new("constraints.NonNeg"),
                         new("constraints.UnitNorm", axis=0), new("constraints.MinMaxNorm", min_value=0.3, max_value=1.5, rate=0.7, axis=0)])

    def weights(self, *names):
        """Initializers, regularizers and constraints of weights, now and then."""
        config = {}
        for name in names:
            if self.chance(0.15):
                config[name + "_initializer"] = self.one(INITIALIZERS)
            if self.chance(0.12):
                config[name + "_regularizer"] = self.regularizer()
            if self.chance(0.1):
                config[name + "_constraint"] = self.constraint()
        if self.chance(0.06):
            config["activity_regularizer"] = new("regularizers.L2", l2=0.01)
        if self.chance(0.05):
            config["trainable"] = False
        return config

    def some(self, config, p=0.5):
        """Each field of the configuration with probability p."""
        return {k: v for k, v in config.items() if self.chance(p)}


def dense(c, s):
    return {"units": c.int(1, 6), **c.some({"activation": c.activation(1), "use_bias": c.chance(0.3)}), **c.weights("kernel", "bias")}


EINSUMS = {  # by rank: equation, shape of the result (None: as the input), axes of the bias
    1: [("ab,bc->ac", [3], "c"), ("ab,bcd->acd", [2, 3], "cd")],
    2: [("abc,cd->abd", [None, 4], "d"), ("abc,cde->abde", [None, 2, 3], "de"), ("...x,xy->...y", [3], "y"), ("abc,cd->abd", [None, 2], "bd")],
    3: [("abcd,cde->abe", [None, 4], "e"), ("abcd,de->abce", [None, None, 3], "ce"), ("abcd,bef->aef", [2, 3], "f")],
}


def einsum_dense(c, s):
    equation, out, bias = c.one(EINSUMS[len(s)])
    out = [s[i] if d is None and c.chance(0.5) else d for i, d in enumerate(out)]
    return {"equation": equation, "output_shape": {"$tuple": out}, "activation": c.activation(), **({"bias_axes": bias} if c.chance(0.7) else {}), **c.weights("kernel")}


def conv(rank, transposed=False, separable=False, depthwise=False):
    def config(c, s):
        strides = c.int(1, 2)
        k = {"kernel_size": [c.int(1, 3) for _ in range(rank)] if c.chance(0.5) else c.int(1, 3),
             "padding": c.one(["valid", "same"] + (["causal"] if rank == 1 and not (transposed or separable or depthwise) else [])),
             "use_bias": c.chance(0.8), "activation": c.activation(0.4)}
        if not depthwise:
            k["filters"] = c.int(1, 4)
        if strides > 1 and c.chance(0.5):
            k["strides"] = strides
        elif c.chance(0.3):
            k["dilation_rate"] = 2
        if separable or depthwise:
            k["depth_multiplier"] = c.int(1, 2)
        elif not transposed and c.chance(0.25):
            groups = c.one([g for g in (1, 2, 3) if s[-1] % g == 0])
            k.update(groups=groups, filters=groups * c.int(1, 2))
        if transposed and c.chance(0.2) and "strides" in k:
            k["output_padding"] = 1
        return {**k, **(c.weights("bias") if separable or depthwise else c.weights("kernel", "bias"))}
    return config


def pool(rank, average=False):
    def config(c, s):
        k = {"pool_size": [c.int(1, 3) for _ in range(rank)] if c.chance(0.5) else c.int(1, 3), "padding": c.one(["valid", "same"])}
        if c.chance(0.5):
            k["strides"] = c.int(1, 3)
        return k
    return config


def global_pool(c, s):
    return {"keepdims": c.chance(0.3)}


def batch_normalization(c, s):
    return {**c.some({"axis": c.one([-1, c.int(1, len(s))]), "momentum": c.real(0.1, 0.99), "epsilon": c.real(0.001, 0.1), "center": c.chance(0.5),
                      "scale": c.chance(0.5)}, 0.4), **c.weights("beta", "gamma")}


def layer_normalization(c, s):
    axis = c.one([-1, [len(s) - 1, len(s)] if len(s) > 1 else 1, list(range(1, len(s) + 1))])
    return {"axis": axis, "epsilon": c.real(0.001, 0.1), "center": c.chance(0.8), "scale": c.chance(0.8), **c.weights("beta", "gamma")}


def group_normalization(c, s):
    groups = c.one([g for g in (1, 2, 3, s[-1]) if s[-1] % g == 0] + [-1])
    return {"groups": groups, "epsilon": 0.01, "center": c.chance(0.7), "scale": c.chance(0.7)}


def recurrent(kind):
    def config(c, s):
        k = {"units": c.int(1, 4), "return_sequences": c.chance(0.6), **c.some({"go_backwards": True, "unroll": c.chance(0.5)}, 0.2),
             **c.weights("kernel", "recurrent", "bias")}
        k.pop("recurrent_activity_regularizer", None)
        if c.chance(0.4):
            k["activation"] = c.one(["tanh", "relu", "softsign", "sigmoid", "elu"])
        if kind != "SimpleRNN" and c.chance(0.3):
            k["recurrent_activation"] = c.one(["hard_sigmoid", "tanh", "sigmoid"])
        if kind == "GRU":
            k["reset_after"] = c.chance(0.6)
        if kind == "LSTM":
            k["unit_forget_bias"] = c.chance(0.6)
        if kind == "SimpleRNN":  # its configuration leaves the seed of its dropout out
            pass
        elif c.chance(0.2):
            k.update(dropout=c.real(0.1, 0.5), seed=c.int(1, 99))
        elif c.chance(0.1):
            k.update(recurrent_dropout=c.real(0.1, 0.5), seed=c.int(1, 99))
        if c.chance(0.2):
            k["use_bias"] = False
        if c.chance(0.15):
            k["return_state"] = True
        return k
    return config


def rnn(c, s):
    cells = []
    for _ in range(c.int(1, 2)):
        kind = c.one(["SimpleRNNCell", "GRUCell", "LSTMCell"])
        cells.append({"$layer": kind, "config": {"units": c.int(1, 4), **c.some({"use_bias": False}, 0.2)}})
    return {"cell": cells if len(cells) > 1 else cells[0], "return_sequences": c.chance(0.6), "go_backwards": c.chance(0.2)}


def bidirectional(c, s):
    kind = c.one(["LSTM", "GRU", "SimpleRNN"])
    inner = recurrent(kind)(c, s)
    inner.pop("go_backwards", None)
    inner.pop("activity_regularizer", None)
    return {"layer": {"$layer": kind, "config": inner}, "merge_mode": c.one(["concat", "sum", "mul", "ave"])}


def conv_lstm(rank):
    def config(c, s):
        k = conv(rank)(c, s)
        for field in ("groups", "activation", "activity_regularizer"):
            k.pop(field, None)
        k["padding"] = c.one(["valid", "same"])
        return {**k, "return_sequences": c.chance(0.5), "recurrent_activation": c.one(["sigmoid", "hard_sigmoid"]), "go_backwards": c.chance(0.2)}
    return config


def time_distributed(c, s):
    inner = {2: ["Dense"], 3: ["Conv1D", "Dense", "LSTM", "MaxPooling1D", "Flatten"], 4: ["Conv2D", "GlobalAveragePooling2D"]}[len(s)]
    kind = c.one(inner)
    config = next(r for r in LAYERS if r[0] == kind)[2](c, s[1:])
    config.pop("return_state", None)
    return {"layer": {"$layer": kind, "config": config}}


def attention_config(c, s):
    config = c.some({"use_scale": True, "score_mode": c.one(["dot", "concat"]), "dropout": 0.3}, 0.4)
    return {**config, "seed": 7} if "dropout" in config else config  # without a seed Keras draws one that no file has


def multi_head(c, s):
    return {"num_heads": c.int(1, 3), "key_dim": c.int(1, 4), **c.some({"value_dim": c.int(1, 4), "use_bias": False, "output_shape": c.int(1, 5)}, 0.3),
            **({"dropout": 0.3, "seed": 5} if c.chance(0.15) else {}), **({"flash_attention": False} if c.chance(0.1) else {}),
            **c.weights("kernel", "bias")}


def group_query(c, s):
    k = c.int(1, 2)
    return {"head_dim": c.int(1, 4), "num_query_heads": k * c.int(1, 2), "num_key_value_heads": k, **c.some({"use_bias": False}, 0.3)}


def pairs(rank, most):
    def value(c):
        return {"$tuple": [{"$tuple": [c.int(0, most), c.int(0, most)]} for _ in range(rank)]} if rank > 1 else {"$tuple": [c.int(0, most), c.int(0, most)]}
    return value


def reshape(c, s):
    size = 1
    for d in s:
        size *= d
    first = c.one([d for d in range(1, size + 1) if size % d == 0])
    rest = size // first
    second = c.one([d for d in range(1, rest + 1) if rest % d == 0])
    shape = c.one([[size], [first, rest], [first, second, rest // second], [first, -1]])
    return {"target_shape": {"$tuple": shape}}


def spectral(c, s):
    kind = "Dense" if len(s) != 3 or c.chance(0.5) else "Conv2D"
    inner = {"units": 3} if kind == "Dense" else {"filters": 2, "kernel_size": 2}
    return {"layer": {"$layer": kind, "config": inner}, "power_iterations": c.int(1, 2)}


def dropped(**more):
    def config(c, s):
        return {"rate": c.real(0.0, 0.6), "seed": c.int(1, 999), **{k: v(c, s) for k, v in more.items()}}
    return config


def channels_first(config_of):
    """The configuration for images with their channels in front."""
    def config(c, s):
        return {**config_of(c, (*s[1:], s[0])), "data_format": "channels_first"}
    return config


def boundaries(c, s):
    return {"bin_boundaries": sorted({c.real(-1.5, 1.5) for _ in range(c.int(1, 4))}), "output_mode": "int"}


def vectorization(c, s):
    k = {"vocabulary": ["a", "bad", "film", "good"], "output_mode": c.one(["int", "int", "multi_hot", "count", "tf_idf"]), **c.some({"split": c.one(["character", None])}, 0.3)}
    if k["output_mode"] == "int":
        k["output_sequence_length"] = c.int(2, 5)
    if k["output_mode"] == "tf_idf":
        k["idf_weights"] = [c.real(0.2, 2) for _ in k["vocabulary"]]
    return {**k, **c.some({"standardize": c.one(["lower", "strip_punctuation", None])}, 0.3)}


# of words (fuzz_model.WORDS)
STRINGS = [
    ("TextVectorization", [1], vectorization),
    ("StringLookup", [1, 3], lambda c, s: {"vocabulary": ["a", "bad", "the film"], "output_mode": c.one(["int", "multi_hot", "count"]),
                                           **c.some({"num_oov_indices": c.int(1, 3), "mask_token": c.one([None, ""])}, 0.3)}),
    ("Hashing", [1, 3], lambda c, s: {"num_bins": c.int(2, 6), "output_mode": c.one(["int", "int", "multi_hot", "count"]), **c.some({"salt": c.int(1, 99), "mask_value": ""}, 0.3)}),
]


def augmentation(**fields):
    """A layer for images between 0 and 1, with a seed; each field of its configuration is a function of the choices."""
    def config(c, s):
        return {"seed": c.int(1, 99), **{k: v(c) for k, v in fields.items()}}
    return config


def factor(c):
    return c.real(0.05, 0.4)


def fill(c):
    return c.one(["constant", "nearest", "reflect", "wrap"])


def smooth(c):
    return c.one(["nearest", "bilinear"])


RANGE = {"value_range": lambda c: {"$tuple": [0.0, 1.0]}}
# of images, whatever their numbers are
IMAGES = [
    ("RandomFlip", augmentation(mode=lambda c: c.one(["horizontal", "vertical", "horizontal_and_vertical"]))), ("RandomBrightness", augmentation(factor=factor, **RANGE)),
    ("RandomContrast", augmentation(factor=factor, **RANGE)), ("RandomRotation", augmentation(factor=factor, fill_mode=fill, interpolation=smooth)),
    ("RandomTranslation", augmentation(height_factor=factor, width_factor=factor, fill_mode=fill, interpolation=smooth)),
    ("RandomZoom", augmentation(height_factor=factor, fill_mode=fill, interpolation=smooth)), ("RandomShear", augmentation(x_factor=factor, y_factor=factor, fill_mode=fill)),
    ("RandomErasing", augmentation(factor=lambda c: 1.0, scale=lambda c: {"$tuple": [0.05, 0.3]}, **RANGE)), ("RandomInvert", augmentation(factor=factor, **RANGE)),
    ("RandomPosterization", augmentation(factor=lambda c: c.int(2, 7), **RANGE)), ("RandomGaussianBlur", augmentation(factor=lambda c: 1.0, kernel_size=lambda c: 3, sigma=lambda c: 1.0, **RANGE)),
]
COLORS = [(name, augmentation(factor=factor, **RANGE)) for name in ("RandomHue", "RandomSaturation", "RandomColorDegeneration", "RandomSharpness", "RandomGrayscale")]
COLORS[-1] = ("RandomGrayscale", augmentation(factor=lambda c: c.one([0.0, 1.0])))  # its configuration leaves the seed out
WARPS = {"RandomRotation", "RandomTranslation", "RandomZoom", "RandomShear"}  # refused between layers that are trained

# of integers below `high`
INTEGERS = [
    ("CategoryEncoding", lambda c, high: {"num_tokens": high + c.int(0, 2), "output_mode": c.one(["multi_hot", "count", "one_hot"])}),
    ("IntegerLookup", lambda c, high: {"vocabulary": list(range(1, high, c.int(1, 2))), "output_mode": c.one(["int", "multi_hot", "count"]),
                                       **c.some({"num_oov_indices": c.int(1, 3)}, 0.3)}),
    ("Hashing", lambda c, high: {"num_bins": c.int(2, 6), **c.some({"mask_value": 0, "salt": c.int(1, 99)}, 0.3)}),
]
ANY = range(1, 5)
# class, ranks without the batch, configuration
LAYERS = [
    ("Dense", ANY, dense), ("Dense", ANY, dense), ("EinsumDense", range(1, 4), einsum_dense), ("Activation", ANY, lambda c, s: {"activation": c.one(ACTIVATIONS)}),
    ("ReLU", ANY, lambda c, s: c.some({"max_value": c.real(0.5, 3), "negative_slope": c.real(0, 0.5), "threshold": c.real(0, 0.5)})),
    ("LeakyReLU", ANY, lambda c, s: {"negative_slope": c.real(0, 0.9)}),
    ("PReLU", ANY, lambda c, s: {**({"shared_axes": [c.int(1, len(s))]} if len(s) > 1 and c.chance(0.6) else {}), **c.weights("alpha")}),
    ("ELU", ANY, lambda c, s: {"alpha": c.real(0.2, 2)}), ("Softmax", ANY, lambda c, s: {"axis": c.one([-1, c.int(1, len(s)), [1, 2] if len(s) > 1 else -1])}),
    ("Identity", ANY, lambda c, s: {}), ("Flatten", ANY, lambda c, s: {}), ("Reshape", ANY, reshape), ("Rescaling", ANY, lambda c, s: {"scale": c.real(0.2, 2), "offset": c.real(-1, 1)}),
    ("Permute", range(2, 5), lambda c, s: {"dims": {"$tuple": [int(i) + 1 for i in c.r.permutation(len(s))]}}),
    ("RepeatVector", [1], lambda c, s: {"n": c.int(1, 4)}),
    ("BatchNormalization", ANY, batch_normalization), ("BatchNormalization", ANY, batch_normalization), ("LayerNormalization", ANY, layer_normalization),
    ("GroupNormalization", ANY, group_normalization), ("RMSNormalization", ANY, lambda c, s: {"axis": c.one([-1, c.int(1, len(s))]), "epsilon": 0.01}),
    ("UnitNormalization", ANY, lambda c, s: {"axis": c.one([-1, c.int(1, len(s))])}), ("SpectralNormalization", [1, 2, 3], spectral),
    ("Normalization", ANY, lambda c, s: {"mean": c.real(-1, 1), "variance": c.real(0.5, 2), "axis": None, "invert": c.chance(0.3)}),
    ("ActivityRegularization", ANY, lambda c, s: {"l1": 0.01, "l2": c.one([0.0, 0.02])}), ("Masking", [2], lambda c, s: {"mask_value": 0.0}),
    ("Dropout", ANY, dropped()), ("Dropout", [2], dropped(noise_shape=lambda c, s: {"$tuple": [None, 1, s[1]]})), ("GaussianDropout", ANY, dropped()),
    ("AlphaDropout", ANY, dropped()), ("GaussianNoise", ANY, lambda c, s: {"stddev": 0.3, "seed": c.int(1, 99)}),
    ("SpatialDropout1D", [2], dropped()), ("SpatialDropout2D", [3], dropped()), ("SpatialDropout3D", [4], dropped()),
    ("Conv1D", [2], conv(1)), ("Conv1D", [2], conv(1)), ("Conv2D", [3], conv(2)), ("Conv2D", [3], conv(2)), ("Conv2D", [3], conv(2)), ("Conv3D", [4], conv(3)),
    ("Conv1DTranspose", [2], conv(1, True)), ("Conv2DTranspose", [3], conv(2, True)), ("Conv3DTranspose", [4], conv(3, True)),
    ("SeparableConv1D", [2], conv(1, separable=True)), ("SeparableConv2D", [3], conv(2, separable=True)),
    ("DepthwiseConv1D", [2], conv(1, depthwise=True)), ("DepthwiseConv2D", [3], conv(2, depthwise=True)),
    *[(f"{kind}Pooling{r}D", [r + 1], pool(r)) for kind in ("Max", "Average") for r in (1, 2, 3)],
    *[(f"Global{kind}Pooling{r}D", [r + 1], global_pool) for kind in ("Max", "Average") for r in (1, 2, 3)],
    *[(f"Adaptive{kind}Pooling{r}D", [r + 1], lambda c, s: {"output_size": c.int(1, 3)}) for kind in ("Max", "Average") for r in (1, 2, 3)],
    ("UpSampling1D", [2], lambda c, s: {"size": c.int(1, 3)}), ("UpSampling3D", [4], lambda c, s: {"size": c.int(1, 2)}),
    ("UpSampling2D", [3], lambda c, s: {"size": [c.int(1, 3), c.int(1, 2)], "interpolation": c.one(["nearest", "bilinear", "bicubic", "lanczos3"])}),
    *[(f"ZeroPadding{r}D", [r + 1], lambda c, s: {"padding": pairs(len(s) - 1, 2)(c)}) for r in (1, 2, 3)],
    *[(f"Cropping{r}D", [r + 1], lambda c, s: {"cropping": pairs(len(s) - 1, 1)(c)}) for r in (1, 2, 3)],
    ("Resizing", [3], lambda c, s: {"height": c.int(1, 6), "width": c.int(1, 6), "interpolation": c.one(["bilinear", "nearest", "bicubic"]),
                                    **c.some({"crop_to_aspect_ratio": True, "antialias": True}, 0.2)}),
    *[(f"{kind}Pooling2D", [3], channels_first(pool(2))) for kind in ("Max", "Average")],
    *[(f"Global{kind}Pooling{r}D", [r + 1], channels_first(global_pool)) for kind in ("Max", "Average") for r in (1, 2)],
    *[(name, [3], channels_first(config)) for name, config in (("Conv2D", conv(2)), ("Conv2DTranspose", conv(2, True)),
                                                               ("SeparableConv2D", conv(2, separable=True)), ("DepthwiseConv2D", conv(2, depthwise=True)))],
    ("Conv1D", [2], channels_first(conv(1))), ("Flatten", range(2, 5), channels_first(lambda c, s: {})), ("Discretization", ANY, boundaries),
    ("ZeroPadding2D", [3], channels_first(lambda c, s: {"padding": pairs(2, 2)(c)})),
    ("Cropping2D", [3], channels_first(lambda c, s: {"cropping": pairs(2, 1)(c)})),
    ("UpSampling2D", [3], channels_first(lambda c, s: {"size": [c.int(1, 3), c.int(1, 2)], "interpolation": c.one(["nearest", "bilinear"])})),
    ("CenterCrop", [3], lambda c, s: {"height": c.int(1, s[0]), "width": c.int(1, s[1])}),
    ("STFTSpectrogram", [2], lambda c, s: {"mode": c.one(["magnitude", "real", "imag", "psd", "log"]), "frame_length": c.int(2, 4), "frame_step": c.int(1, 3), "fft_length": 4,
                                           **c.some({"window": None, "padding": "same", "periodic": True, "expand_dims": True}, 0.3)}),
    ("LSTM", [2], recurrent("LSTM")), ("GRU", [2], recurrent("GRU")), ("SimpleRNN", [2], recurrent("SimpleRNN")), ("RNN", [2], rnn),
    ("Bidirectional", [2], bidirectional), ("ConvLSTM1D", [3], conv_lstm(1)), ("ConvLSTM2D", [4], conv_lstm(2)), ("TimeDistributed", [2, 3, 4], time_distributed),
]
# two tensors of one shape
MERGES = [(name, lambda c, s: {}) for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")]


def describe(layer):
    return json.dumps(layer, sort_keys=True)
