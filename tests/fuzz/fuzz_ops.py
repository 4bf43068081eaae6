"""Random nodes of keras.ops. Operands are brought to where an operation is well conditioned first: positive under logarithms and
as divisors, within (-1, 1) where functions grow fast or end."""
import numpy as np

from fuzz_layers import tensor, tensors_in

X, POSITIVE, UNIT, DEFINITE = "x", "positive", "unit", "definite"


def plain(c, s):
    return [], {}


def axis(least=1, keep=True, many=False):
    def make(c, s):
        k = {"axis": c.one([-1, c.int(least, len(s))])}
        if many and len(s) > 1 and c.chance(0.3):
            k["axis"] = {"$tuple": [1, 2]} if c.chance(0.5) else {"$tuple": [-1, -2]}
        if keep and c.chance(0.4):
            k["keepdims"] = True
        return [], k
    return make


def array(c, shape, low=-1.0, high=1.0):
    return {"$a": np.round(c.r.uniform(low, high, shape), 3).tolist(), "dtype": "float32"}


def pad(c, s):
    mode = c.one(["constant", "reflect", "symmetric"])
    most = [2 if mode == "constant" else max(0, min(2, d - 1)) for d in s]
    width = [{"$tuple": [0, 0]}] + [{"$tuple": [c.int(0, m), c.int(0, m)]} for m in most]
    k = {"mode": mode}
    if mode == "constant" and c.chance(0.4):
        k["constant_values"] = 0.5
    return [{"$tuple": width}], k


def split(c, s):
    a = c.int(1, len(s))
    d = s[a - 1]
    if c.chance(0.5) and d > 1:
        return [[c.int(1, d - 1)]], {"axis": a}
    return [c.one([k for k in range(1, d + 1) if d % k == 0])], {"axis": a}


def take(c, s):
    a = c.int(1, len(s))
    d = s[a - 1]
    shape = c.one([[2], [2, 2], [1]])
    return [{"$a": c.r.integers(-d, d, shape).tolist(), "dtype": "int32"}], {"axis": a}


def getitem(c, s):
    keys = [{"$s": [None, None, None]}]
    for d in s:
        low = c.int(-d, d - 1)
        keys.append(c.one([{"$s": [None, None, None]}, {"$s": [c.int(0, d - 1), None, None]}, {"$s": [None, None, 2]},
                           {"$s": [None, None, -1]}, low, {"$s": [-c.int(1, d), None, None]}]))
    if c.chance(0.2):
        keys.insert(c.int(1, len(keys)), None)
    if c.chance(0.2):
        keys = [{"$dots": 1}] + keys[-1:]
    return [keys], {}


def matmul(c, s):
    shape = [s[-1], c.int(1, 4)] if c.chance(0.8) or len(s) < 2 else [*s[:-2], s[-1], c.int(1, 3)]
    return [array(c, shape)], {}


def einsum_one(c, s):
    text = {1: ["bi->b", "bi,bi->b"], 2: ["bij->bji", "bij->bj", "bij,bkj->bik", "bij,bij->bi"], 3: ["bijk->bik", "bijk->bkij"],
            4: ["bijkl->bil"]}[len(s)]
    return c.one(text)


def kernel(*shape):
    return lambda c, s: array(c, [s[-1] if d == "c" else d for d in shape])


def clip(c, s):
    return [c.real(-1, 0), c.real(0.1, 1)], {}


def one_shape(c, s):
    size = int(np.prod(s))
    first = c.one([d for d in range(1, size + 1) if size % d == 0])
    return [{"$tuple": [-1, first, size // first]}], {}


R = range(1, 5)
# operation, ranks without the batch, what each tensor operand must be, further arguments
OPS = [
    *[(name, R, [X], plain) for name in (
        "absolute", "negative", "sin", "cos", "arctan", "tanh", "erf", "sigmoid", "softplus", "softsign", "silu", "relu", "relu6", "log_sigmoid",
        "leaky_relu", "hard_sigmoid", "hard_silu", "elu", "selu", "gelu", "celu", "hard_tanh", "tanh_shrink", "squareplus",
        "arcsinh", "square", "stop_gradient", "soft_shrink", "hard_shrink", "sparse_plus", "sparse_sigmoid", "ones_like", "zeros_like", "copy",
        "isfinite", "signbit", "fabs", "sinc", "erfc", "nan_to_num", "sign", "floor", "ceil", "round", "trunc", "log_softmax", "softmax", "deg2rad")],
    *[(name, R, [UNIT], plain) for name in ("exp", "expm1", "exp2", "sinh", "cosh", "arcsin", "arccos", "arctanh", "erfinv", "tan", "rad2deg", "square")],
    *[(name, R, [POSITIVE], plain) for name in ("log", "log1p", "log2", "log10", "sqrt", "rsqrt", "reciprocal", "cbrt", "arccosh")],
    *[(name, R, [X, X], plain) for name in ("add", "subtract", "multiply", "maximum", "minimum", "fmax", "fmin", "arctan2", "greater", "less",
                                            "logaddexp", "logaddexp2", "hypot", "greater_equal", "less_equal", "not_equal", "heaviside")],
    *[(name, R, [X, POSITIVE], plain) for name in ("divide", "true_divide", "divide_no_nan", "mod", "fmod", "floor_divide")],
    ("power", R, [POSITIVE, UNIT], plain), ("where", R, ["bool", X, X], plain), ("logical_and", R, ["bool", "bool"], plain), ("logical_not", R, ["bool"], plain),
    ("logical_xor", R, ["bool", "bool"], plain),
    *[(name, R, [X], lambda c, s: ([c.one([c.real(-2, 2), c.int(-2, 2)])], {})) for name in ("add", "subtract", "multiply", "maximum", "minimum")],
    *[(name, R, [X], lambda c, s: ([array(c, c.one([[s[-1]], [1], list(s)]))], {})) for name in ("add", "subtract", "multiply", "maximum")],
    ("power", R, [POSITIVE], lambda c, s: ([c.one([2, 0.5, 3, -1.0, 1.5])], {})), ("power", R, [X], lambda c, s: ([c.one([2, 3])], {})),
    ("divide", R, [X], lambda c, s: ([c.one([2, 0.7])], {})), ("clip", R, [X], clip), ("threshold", R, [X], lambda c, s: ([0.1, -0.5], {})),
    ("round", R, [X], lambda c, s: ([], {"decimals": 1})), ("cast", R, [X], lambda c, s: ([c.one(["int32", "bool", "float32", "int8"])], {})),
    *[(name, R, [X], axis(many=True)) for name in ("sum", "mean", "max", "min", "amax", "amin", "var", "std", "logsumexp", "nansum", "nanmax", "nanmean", "nanvar")],
    ("prod", R, [UNIT], axis(many=True)), ("norm", R, [X], axis()), ("norm", R, [X], lambda c, s: ([], {"axis": -1, "ord": c.one([1, 2, 3, float("inf")])})),
    *[(name, R, [X], axis()) for name in ("argmax", "argmin", "median", "ptp", "count_nonzero")], ("quantile", R, [X], lambda c, s: ([c.real(0.1, 0.9)], {"axis": -1})),
    *[(name, R, ["bool"], axis()) for name in ("any", "all")],
    *[(name, R, [X], axis(keep=False)) for name in ("cumsum", "sort", "argsort", "softmax", "log_softmax", "flip", "expand_dims", "squeeze", "unstack", "diff",
                                                    "normalize", "sparsemax", "trapezoid", "nancumsum", "glu")],
    ("cumprod", R, [UNIT], axis(keep=False)), ("moments", R, [X], lambda c, s: ([[c.int(1, len(s))]], {"keepdims": c.chance(0.5)})),
    ("average", R, [X], lambda c, s: ([], {"axis": -1, "weights": array(c, [s[-1]], 0.2, 1.5)})),
    ("top_k", R, [X], lambda c, s: ([c.int(1, s[-1])], {})), ("pad", R, [X], pad), ("split", R, [X], split), ("take", R, [X], take), ("getitem", R, [X], getitem), ("getitem", R, [X], getitem),
    ("matmul", R, [X], matmul), ("dot", R, [X], lambda c, s: ([array(c, [s[-1], 3])], {})), ("tensordot", R, [X], lambda c, s: ([array(c, [s[-1], 2])], {"axes": 1})),
    ("einsum", range(1, 5), ["einsum"], plain), ("reshape", R, [X], one_shape), ("transpose", R, [X], lambda c, s: ([], {"axes": [0] + [int(i) + 1 for i in c.r.permutation(len(s))]})),
    ("swapaxes", range(2, 5), [X], lambda c, s: ([1, len(s)], {})), ("moveaxis", range(2, 5), [X], lambda c, s: ([1, -1], {})), ("roll", R, [X], lambda c, s: ([c.int(-2, 2)], {"axis": c.int(1, len(s))})),
    ("tile", R, [X], lambda c, s: ([[1] + [c.int(1, 2) for _ in s]], {})), ("repeat", R, [X], lambda c, s: ([c.int(1, 3)], {"axis": c.int(1, len(s))})),
    ("tril", range(2, 5), [X], lambda c, s: ([], {"k": c.int(-1, 1)})), ("triu", range(2, 5), [X], lambda c, s: ([], {"k": c.int(-1, 1)})),
    ("diagonal", range(2, 5), [X], lambda c, s: ([], {"axis1": 1, "axis2": 2, "offset": c.int(-1, 1)})), ("trace", range(3, 5), [X], lambda c, s: ([], {"axis1": 1, "axis2": 2})),
    ("concatenate", R, ["pair"], axis(keep=False)), ("stack", R, ["pair"], axis(keep=False)), ("hstack", range(2, 4), ["pair"], plain), ("cross", [2], [X, X], plain), ("cdist", [2], [X, X], plain),
    ("layer_normalization", R, [X], lambda c, s: ([], {"gamma": array(c, [s[-1]], 0.5, 1.5), "beta": array(c, [s[-1]])})),
    ("rms_normalization", R, [X], lambda c, s: ([], {"axis": -1})), ("conv", [2], [X], lambda c, s: ([kernel(2, "c", 3)(c, s)], {"padding": c.one(["same", "valid"]), "strides": c.int(1, 2)})),
    ("conv", [3], [X], lambda c, s: ([kernel(2, 2, "c", 2)(c, s)], {"padding": c.one(["same", "valid"])})),
    ("depthwise_conv", [3], [X], lambda c, s: ([kernel(2, 2, "c", 1)(c, s)], {"padding": "same"})),
    ("max_pool", [2, 3], [X], lambda c, s: ([c.int(1, 2)], {"padding": c.one(["same", "valid"])})), ("average_pool", [2, 3], [X], lambda c, s: ([2], {"strides": 1, "padding": c.one(["same", "valid"])})),
    ("image.resize", [3], [X], lambda c, s: ([{"$tuple": [c.int(1, 6), c.int(1, 6)]}], {"interpolation": c.one(["bilinear", "nearest", "bicubic"])})),
    *[(name, range(2, 4), [DEFINITE], plain) for name in ("cholesky", "inv", "det", "slogdet", "eigvalsh", "pinv")],
    ("linalg.solve", range(2, 4), [DEFINITE, DEFINITE], plain), ("solve_triangular", range(2, 4), [DEFINITE, DEFINITE], lambda c, s: ([], {"lower": c.chance(0.5)})),
    ("linalg.norm", R, [X], lambda c, s: ([], {"axis": -1})), ("matrix_rank", range(2, 4), [DEFINITE], plain),
    ("rfft", R, [X], plain), ("stft", [2], [X], lambda c, s: ([3, c.int(1, 2), 4], {"window": c.one(["hann", None])})),
    ("one_hot", R, ["int"], lambda c, s: ([c.int(2, 5)], {})), ("extract_sequences", [2], [X], lambda c, s: ([c.int(1, s[-1]), 1], {})),
    ("image.crop_images", [3], [X], lambda c, s: ([], {"top_cropping": 0, "left_cropping": 0, "target_height": max(1, s[0] - 1), "target_width": s[1]})),
    ("cast", R, ["int"], lambda c, s: (["float32"], {})), ("add", R, ["int"], lambda c, s: ([c.one([1, 1.5])], {})), ("multiply", R, ["int", X], plain), ("mod", R, ["int"], lambda c, s: ([3], {})),
    ("floor_divide", R, ["int"], lambda c, s: ([2], {})), ("equal", R, ["int"], lambda c, s: ([1], {})), ("bitwise_and", R, ["int"], lambda c, s: ([3], {})),
]


ORDERS = {"argmax", "argmin", "argsort", "top_k"}  # give indices


def may_tie(g, t):
    """Whether elements of t may come from equal numbers: functions of TensorFlow differ in the last bit between the elements of
    a vector and those left over, so that equal inputs have no order in Keras."""
    inputs = {i["id"]: i["kind"] for i in g.description["inputs"]}
    needed = {t.split(".")[0]}
    for node in reversed(g.description["nodes"]):
        if node["id"] in needed:
            needed |= {u.split(".")[0] for u in tensors_in([node.get("args"), node.get("kwargs")], set())}
    return any(inputs.get(u) in ("int", "tokens", "padded", "bool") for u in needed)


def operand(g, kind, like, float_of):
    """The id of a tensor of the kind asked for; g.op adds nodes before it. None when there is none."""
    c = g.choice
    if kind == X:
        return float_of()
    if kind == POSITIVE:
        t = float_of()
        made = t and g.op("softplus", [tensor(t)])
        return made and g.op("add", [tensor(made[0]), 0.3])[0]
    if kind == UNIT:
        t = float_of()
        made = t and g.op("tanh", [tensor(t)])
        return made and g.op("multiply", [tensor(made[0]), 0.9])[0]
    if kind == DEFINITE:  # x' x + 1 on the diagonal, of the last two axes
        t = float_of()
        turned = t and g.op("swapaxes", [tensor(t), -1, -2])
        made = turned and g.op("matmul", [tensor(turned[0]), tensor(t)])
        side = g.shape(t)[-1]
        return made and g.op("add", [tensor(made[0]), {"$a": np.eye(side).tolist(), "dtype": "float32"}])[0]
    if kind == "bool":
        found = [t for t in g.pool if g.dtype(t) == "bool" and g.shape(t) == g.shape(like)]
        if found and c.chance(0.5):
            return c.one(found)
        t = float_of()
        made = t and g.op("greater", [tensor(t), c.real(-0.5, 0.5)])
        return made and made[0]
    if kind == "int":
        found = [t for t in g.pool if g.dtype(t) == "int32" and g.shape(t)]
        return c.one(found) if found else None
    raise ValueError(kind)


def random_op(g):
    """Adds a node of keras.ops; the ids of its results, or None."""
    c = g.choice
    name, ranks, kinds, more = c.one(OPS)
    first = [t for t in g.pool if g.dtype(t) == "float32" and len(g.shape(t)) in ranks]
    if kinds[0] == "int":
        first = [t for t in g.pool if g.dtype(t) == "int32" and len(g.shape(t)) in ranks]
    if not first:
        return None
    like = c.one(first)
    if name in ORDERS and may_tie(g, like):
        return None
    shape = g.shape(like)
    same = [t for t in first if g.shape(t) == shape]
    used = iter([like] + [c.one(same) for _ in range(3)])
    if kinds == ["pair"]:
        args, kwargs = more(c, shape)
        return g.op(name, [[tensor(like), tensor(c.one(same))], *args], kwargs)
    if kinds == ["einsum"]:
        text = einsum_one(c, shape)
        return g.op(name, [text, *[tensor(next(used)) for _ in range(text.count(",") + 1)]])
    args, kwargs = more(c, shape)
    operands = []
    for kind in kinds:
        t = like if kind == "int" else operand(g, kind, like, lambda: next(used))
        if t is None:
            return None
        operands.append(tensor(t))
    return g.op(name, operands + args, kwargs)
