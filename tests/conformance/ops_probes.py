"""Probes for ops_live.py: (name, function of (x, z, k), whether it is trained through x). x and z are floats (n, 4, 6),
k integers 0..5 (n, 4)."""
import numpy as np
import keras
from keras import ops

DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "float16", "float32", "float64", "bfloat16"]

UNARY = """abs absolute negative sign square exp expm1 log log1p sqrt rsqrt cbrt sin cos tan arcsin arccos arctan sinh cosh tanh
arcsinh arccosh arctanh erf erfc erfinv floor ceil isfinite log2 log10 exp2 deg2rad rad2deg reciprocal sinc angle isinf isnan
isposinf isneginf round trunc signbit nan_to_num logical_not bitwise_invert copy real conj imag isreal fabs i0 relu relu6 leaky_relu
elu selu celu gelu silu sigmoid hard_sigmoid hard_silu hard_tanh hard_shrink soft_shrink tanh_shrink softplus softsign log_sigmoid
softmax log_softmax squareplus sparse_plus sparse_sigmoid threshold sum prod max min any all mean var std amax amin nansum
nanprod nanmax nanmin nanmean nanvar nanstd argmax argmin nanargmax nanargmin count_nonzero ptp median nanmedian logsumexp norm cumsum
cumprod nancumsum nancumprod sort argsort ravel transpose squeeze flip trace diagonal diff ones_like zeros_like normalize sparsemax
average stop_gradient expand_dims_ tril triu size""".split()

BINARY = """add subtract multiply maximum minimum power divide true_divide arctan2 floor_divide mod fmod divide_no_nan hypot logaddexp
logaddexp2 fmax fmin heaviside ldexp equal not_equal less less_equal greater greater_equal logical_and logical_or logical_xor
bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift isclose gcd lcm nextafter matmul dot inner outer vdot
tensordot cross where_ append concatenate_ stack_ correlate take""".split()

# Pairs of the binary grid in which most rules of promotion meet.
SAMPLE = {("bool", "bool"), ("bool", "weak_int"), ("uint8", "int16"), ("int32", "int32"), ("uint32", "int32"), ("weak_float", "int8"),
          ("int64", "float16"), ("weak_int", "float32")}
DIVIDES = {"floor_divide", "mod", "fmod", "power"}


def get(name):
    for where in (ops, ops.nn, ops.linalg, ops.image, ops.numpy if hasattr(ops, "numpy") else ops):
        if hasattr(where, name):
            return getattr(where, name)
    return None


def in_dtype(t, dtype, shift=0.0):
    if dtype == "bool":
        return t > 0.3
    if dtype.startswith("uint"):
        return ops.cast(ops.abs(t) * 3 + shift, dtype)
    return ops.cast(t * 3 + shift, dtype) if "int" in dtype else ops.cast(t, dtype)


SAFE = {"arcsin", "arccos", "arctanh", "erfinv"}


def unary_dtypes():
    for name in UNARY:
        f = get(name.rstrip("_"))
        if name == "expand_dims_":
            f = lambda t: ops.expand_dims(t, 1)
        if f is None:
            continue
        for d in DTYPES:
            def build(x, z, k, f=f, d=d, name=name):
                if name in SAFE:
                    x = ops.tanh(x) * 0.9
                if name in {"size", "trace", "diagonal"} or name.startswith("nan_"):
                    return f(in_dtype(x, d))
                return f(in_dtype(x, d))
            yield f"unary.{name}.{d}", build, False


def binary_dtypes():
    for name in BINARY:
        f = get(name.rstrip("_"))
        if name == "where_":
            f = lambda a, b: ops.where(a[:, :, :1] != 0, a, b)
        elif name == "concatenate_":
            f = lambda a, b: ops.concatenate([a, b], 1)
        elif name == "stack_":
            f = lambda a, b: ops.stack([a, b], 1)
        elif name in {"dot", "inner", "outer", "vdot", "correlate", "tensordot", "cross", "matmul"}:
            cut = {"dot": lambda a, b, f=f: f(a, ops.transpose(b[0])) if False else f(a, ops.sum(b, 0)[0]),
                   "inner": lambda a, b, f=f: f(ops.sum(a, 0), ops.sum(b, 0)), "outer": lambda a, b, f=f: f(ops.sum(a, 0)[0], ops.sum(b, 0)[1]),
                   "vdot": lambda a, b, f=f: f(ops.max(a, 0), ops.max(b, 0)),
                   "correlate": lambda a, b, f=f: f(ops.max(a, 0)[0], ops.max(b, 0)[0, :3]),
                   "tensordot": lambda a, b, f=f: f(a, ops.transpose(ops.max(b, 0)), axes=1),
                   "cross": lambda a, b, f=f: f(a[:, :, :3], b[:, :, 3:]),
                   "matmul": lambda a, b, f=f: f(a, ops.transpose(b, (0, 2, 1)))}
            f = cut[name]
        elif name == "take":
            continue
        if f is None:
            continue
        for d in DTYPES:
            for e in DTYPES + ["weak_int", "weak_float"]:
                if name in {"gcd", "lcm"} and ("float" in d + e or "bool" in d + e):
                    continue
                def build(x, z, k, f=f, d=d, e=e, name=name):
                    if e.startswith("weak"):
                        b = {"weak_int": 2, "weak_float": 1.5}[e]
                    elif name in DIVIDES and "int" in e:  # never 0; exponents not below 0
                        b = in_dtype(ops.abs(z) if name == "power" else ops.where(ops.abs(z) < 0.34, 1.0, z), e)
                    else:
                        b = in_dtype(z, e, 1.0 if "int" in e else 0.0)
                    return f(in_dtype(x, d), b)
                yield f"binary.{name}.{d}.{e}", build, False
                if e.startswith("weak"):
                    def build2(x, z, k, f=f, d=d, e=e):
                        return f({"weak_int": 2, "weak_float": 1.5}[e], in_dtype(x, d))
                    yield f"binary.{name}.{e}.{d}", build2, False


def casts():
    for d in DTYPES:
        for e in DTYPES:
            yield f"cast.{d}.{e}", lambda x, z, k, d=d, e=e: ops.cast(in_dtype(x, d), e), False
            yield f"saturate_cast.{d}.{e}", lambda x, z, k, d=d, e=e: ops.saturate_cast(in_dtype(x * 50, d), e), False


def pos(x):
    return ops.abs(x) + 0.5


def spd(x):
    a = x[:, :, :4]
    return ops.matmul(a, ops.transpose(a, (0, 2, 1))) + np.eye(4, dtype="float32")


def square(x):
    return x[:, :, :4] + 2 * np.eye(4, dtype="float32")


def picture(x):
    return ops.reshape(ops.sigmoid(ops.concatenate([x, x * 0.5, -x], 1)), (-1, 4, 6, 3))


def hand():
    """Attributes, shapes and borders; all trained."""
    P = {}

    def add(name, f):
        P[name + "#" + str(sum(n.startswith(name + "#") for n in P))] = f

    for n in range(1, 7):
        add("fft", lambda x, z, k, n=n: ops.fft((x[:, :, :n], z[:, :, :n])))
        add("rfft", lambda x, z, k, n=n: ops.rfft(x, n + 2))
        add("irfft", lambda x, z, k, n=n: ops.irfft((x, z), n + 5))
    for n in (7, 130, 131, 135, 262, 300):
        add("fft", lambda x, z, k, n=n: ops.fft((ops.tile(x, (1, 1, 60))[:, :, :n], ops.tile(z, (1, 1, 60))[:, :, :n] * np.cos(np.arange(n)).astype("float32"))))
        add("rfft", lambda x, z, k, n=n: ops.rfft(ops.reshape(x, (-1, 24)), n))
        add("irfft", lambda x, z, k, n=n: ops.irfft((x, z), n))
    add("fft2", lambda x, z, k: ops.fft2((x, z)))
    add("ifft2", lambda x, z, k: ops.ifft2((x, z)))
    add("rfft", lambda x, z, k: ops.rfft(x))
    add("rfft", lambda x, z, k: ops.rfft(ops.cast(x, "float64")))
    add("irfft", lambda x, z, k: ops.irfft((x, z)))
    for kw in (dict(), dict(center=False), dict(window="hamming"), dict(window=None), dict(window=np.arange(1.0, 7.0, dtype="float32")), dict(fft_length=9)):
        add("stft", lambda x, z, k, kw=kw: ops.stft(ops.reshape(x, (-1, 24)), 6, 3, **{"fft_length": 8, **kw}))
        add("istft", lambda x, z, k, kw=kw: ops.istft((x[:, :, :5], z[:, :, :5]), 6, 3, **{"fft_length": 8, **kw}))
    add("istft", lambda x, z, k: ops.istft((x[:, :, :5], z[:, :, :5]), 7, 2, 8, length=9))
    add("istft", lambda x, z, k: ops.istft((x[:, :, :5], z[:, :, :5]), 8, 4, 8, length=9, center=False))

    for n in "cholesky inv det slogdet_ logdet".split():
        f = get(n.rstrip("_"))
        if f:
            add(n, lambda x, z, k, f=f: f(spd(x)))
    add("cholesky", lambda x, z, k: ops.cholesky(spd(x), upper=True))
    add("inv", lambda x, z, k: ops.inv(square(x)))
    add("det", lambda x, z, k: ops.det(square(x)))
    add("slogdet", lambda x, z, k: ops.slogdet(square(x)))
    add("cholesky_inverse", lambda x, z, k: ops.linalg.cholesky_inverse(ops.tril(square(x))))
    add("cholesky_inverse", lambda x, z, k: ops.linalg.cholesky_inverse(ops.triu(square(x)), upper=True))
    add("solve", lambda x, z, k: ops.solve(square(x), z))
    add("solve", lambda x, z, k: ops.solve(square(x), z[:, :, 0]))
    add("solve", lambda x, z, k: ops.solve(square(z), x))
    add("solve_triangular", lambda x, z, k: ops.solve_triangular(square(x), z, lower=True))
    add("solve_triangular", lambda x, z, k: ops.solve_triangular(square(x), z))
    add("solve_triangular", lambda x, z, k: ops.solve_triangular(square(z), x[:, :, 0]))
    add("lu_factor", lambda x, z, k: ops.lu_factor(square(x)))
    add("qr", lambda x, z, k: ops.qr(square(x)))
    add("qr", lambda x, z, k: ops.qr(ops.transpose(x, (0, 2, 1))))
    add("qr", lambda x, z, k: ops.qr(ops.transpose(z, (0, 2, 1)), mode="complete"))
    add("svd", lambda x, z, k: ops.svd(x, compute_uv=False))
    add("svd", lambda x, z, k: abs_all(ops.svd(x, full_matrices=False)))
    add("svd", lambda x, z, k: abs_all(ops.svd(ops.transpose(x, (0, 2, 1)), full_matrices=False)))
    add("svd", lambda x, z, k: abs_all(ops.svd(z, full_matrices=True)[:2]))
    add("eigh", lambda x, z, k: abs_all(ops.eigh(spd(x))))
    add("lstsq", lambda x, z, k: ops.lstsq(ops.transpose(ops.sum(x, 0)), ops.transpose(ops.sum(z, 0))))
    add("lstsq", lambda x, z, k: ops.lstsq(ops.sum(x, 0), ops.sum(z, 0)[:, 0]))
    add("pinv", lambda x, z, k: ops.linalg.pinv(x))
    add("pinv", lambda x, z, k: ops.linalg.pinv(spd(x), rcond=1e-3))
    add("matrix_rank", lambda x, z, k: ops.linalg.matrix_rank(x))
    for o in (None, "fro", "nuc", 1, 2, -1, -2, np.inf, -np.inf):
        add("norm", lambda x, z, k, o=o: ops.norm(x, ord=o, axis=(1, 2)))
        add("norm", lambda x, z, k, o=o: ops.norm(x, ord=o, axis=(2, 1), keepdims=True))
    for o in (None, 0, 1, 2, 3, -1, 1.5, np.inf, -np.inf):
        add("norm", lambda x, z, k, o=o: ops.norm(x, ord=o, axis=2))
        add("norm", lambda x, z, k, o=o: ops.norm(x, ord=o, axis=1, keepdims=True))
    add("norm", lambda x, z, k: ops.norm(x))

    # gradients where upstream or the operand is 0
    zero = lambda x: x * np.array([0, 1, 0, 1, 1, 0], "float32")
    for n in "sqrt rsqrt log log1p abs square sign relu cbrt reciprocal sinc tanh exp arcsin arccosh log2 log10 selu elu softplus".split():
        f = get(n)
        add("zero." + n, lambda x, z, k, f=f: f(ops.abs(zero(x))))
        add("zero_up." + n, lambda x, z, k, f=f: f(ops.abs(zero(x))) * np.array([0, 1, 0, 1, 1, 0], "float32"))
    add("zero.hypot", lambda x, z, k: ops.hypot(zero(x), zero(z)))
    add("zero.arctan2", lambda x, z, k: ops.arctan2(zero(x), zero(z)))
    add("zero.divide", lambda x, z, k: ops.divide(z, zero(x)))
    add("zero.divide_no_nan", lambda x, z, k: ops.divide_no_nan(z, zero(x)))
    add("zero.power", lambda x, z, k: ops.power(ops.abs(zero(x)), z))
    add("zero.power", lambda x, z, k: ops.power(ops.abs(zero(x)), 2))
    add("zero.power", lambda x, z, k: ops.power(ops.abs(zero(x)), 0.5))
    add("zero.power", lambda x, z, k: ops.power(z, zero(x)))
    add("zero.norm", lambda x, z, k: ops.norm(zero(x), axis=1))
    add("zero.norm", lambda x, z, k: ops.norm(zero(x), axis=1, ord=3))
    add("zero.std", lambda x, z, k: ops.std(zero(x), axis=1))
    add("zero.prod", lambda x, z, k: ops.prod(zero(x), axis=2))
    add("zero.cumprod", lambda x, z, k: ops.cumprod(zero(x), axis=2))
    add("zero.max", lambda x, z, k: ops.max(zero(x), axis=2))
    add("zero.maximum", lambda x, z, k: ops.maximum(zero(x), zero(z)))
    add("zero.minimum", lambda x, z, k: ops.minimum(zero(x), 0.0))
    add("zero.clip", lambda x, z, k: ops.clip(zero(x), 0.0, 0.5))
    add("zero.normalize", lambda x, z, k: ops.normalize(zero(x), axis=1))
    add("zero.mod", lambda x, z, k: ops.mod(zero(x), pos(z)))
    add("zero.floor_divide", lambda x, z, k: ops.floor_divide(x, z))
    add("zero.logaddexp", lambda x, z, k: ops.logaddexp(zero(x), zero(z)))
    add("zero.cdist", lambda x, z, k: ops.cdist(x, x) if hasattr(ops, "cdist") else x)
    for n in "arctan2 divide_no_nan hypot logaddexp logaddexp2 fmax fmin heaviside ldexp mod fmod".split():
        add("grad2." + n, lambda x, z, k, f=get(n): f(x, z))
        add("grad2." + n, lambda x, z, k, f=get(n): f(z, x))
        add("broadcast." + n, lambda x, z, k, f=get(n): f(x[:, :1], z[:, :, :1]))

    more(add)
    for name, f in P.items():
        yield "hand." + name, f, True


def abs_all(t):
    return [ops.abs(e) for e in t] if isinstance(t, (list, tuple)) else ops.abs(t)


def more(add):
    add("nanmedian", lambda x, z, k: ops.nanmedian(ops.sqrt(x), axis=1))
    add("nanmedian", lambda x, z, k: ops.nanmedian(ops.where(z > 0.7, float("nan"), x), axis=(1, 2), keepdims=True))
    for m in ("linear", "lower", "higher", "nearest", "midpoint"):
        for n in ("percentile", "nanpercentile", "quantile", "nanquantile"):
            f, q = get(n), 30.0 if "percent" in n else 0.3
            if f:
                add(n, lambda x, z, k, f=f, q=q, m=m: f(x, q, axis=1, method=m))
                add(n, lambda x, z, k, f=f, q=q, m=m: f(ops.where(z > 0.5, float("nan"), x), [q, 2 * q], axis=(1, 2), keepdims=True, method=m))
    add("argpartition", lambda x, z, k: ops.argpartition(x, 2, axis=-1))
    add("argpartition", lambda x, z, k: ops.argpartition(x, 2, axis=1))
    add("histogram", lambda x, z, k: ops.histogram(x, 5))
    add("histogram", lambda x, z, k: ops.histogram(x, 4, (-1, 1)))
    for m in ("valid", "same", "full"):
        add("correlate", lambda x, z, k, m=m: ops.correlate(ops.sum(x, 0)[0], ops.sum(z, 0)[0, :3], m))
        add("correlate", lambda x, z, k, m=m: ops.correlate(ops.sum(x, 0)[0, :2], ops.sum(z, 0)[0], m))
    add("geomspace", lambda x, z, k: ops.geomspace(pos(x), pos(z), 5))
    add("geomspace", lambda x, z, k: ops.geomspace(pos(x), 8.0, 4, endpoint=False, axis=-1))
    add("logspace", lambda x, z, k: ops.logspace(x, z, 5, base=2, axis=1))
    add("linspace", lambda x, z, k: ops.linspace(x, z, 5, axis=-1, endpoint=False))
    add("linspace", lambda x, z, k: ops.linspace(x, 2, 5, retstep=True))
    add("gcd", lambda x, z, k: ops.gcd(k * 4, k + 6))
    add("lcm", lambda x, z, k: ops.lcm(k * 4, k + 6))
    add("i0", lambda x, z, k: ops.i0(x * 5))
    add("nextafter", lambda x, z, k: ops.nextafter(x, z))
    add("arange", lambda x, z, k: ops.arange(3) + k[:, :3])
    add("bincount", lambda x, z, k: ops.bincount(k, minlength=8))
    add("bincount", lambda x, z, k: ops.bincount(k, weights=x[:, :, 0], minlength=6))
    for e in ("trapezoid",):
        add(e, lambda x, z, k: ops.trapezoid(x, dx=0.5))
        add(e, lambda x, z, k: ops.trapezoid(x, z, axis=1))
    # images
    for i in ("nearest", "bilinear"):
        for f in ("constant", "nearest", "wrap", "mirror", "reflect"):
            add("affine_transform", lambda x, z, k, i=i, f=f: ops.image.affine_transform(picture(x), ops.concatenate([ops.ones_like(z[:, 0, :1]) * 0.9, z[:, 0, 1:6] * 0.3, z[:, 1, :2] * 0.01], -1), i, f, 0.2))
            add("perspective_transform", lambda x, z, k, i=i, f=f: ops.image.perspective_transform(picture(x), np.array([[0., 0], [0, 4], [4, 0], [4, 4]], "float32"), np.array([[0.2, 0.4], [-0.3, 4], [3.5, 0.6], [4.4, 3.5]], "float32"), i, 0.2))
    for f in ("constant", "nearest", "wrap", "mirror", "reflect"):
        for o in (0, 1):
            add("map_coordinates", lambda x, z, k, f=f, o=o: ops.image.map_coordinates(ops.sum(x, 0), ops.stack([z * 3, ops.flip(z, 1) * 4], 0), o, f, 0.3))
            add("map_coordinates", lambda x, z, k, f=f, o=o: ops.image.map_coordinates(ops.sum(z, 0), ops.stack([ops.tanh(x) * 5 + 2, z * 4], 0), o, f, 0.3))
    for m in ("linear", "bilinear", "trilinear", "cubic", "bicubic", "lanczos3", "lanczos5"):
        for anti in (True, False):
            add("scale_and_translate", lambda x, z, k, m=m, anti=anti: ops.image.scale_and_translate(ops.sum(picture(x), 0, keepdims=True), (1, 7, 5, 3), np.array([0.7, 1.3], "float32"), np.array([0.3, -0.4], "float32"), (1, 2), m, anti))
    add("elastic_transform", lambda x, z, k: ops.image.elastic_transform(picture(x), 3.0, 2.0, seed=3))
    for i in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5", "area"):
        for kw in (dict(), dict(antialias=True), dict(crop_to_aspect_ratio=True), dict(pad_to_aspect_ratio=True, fill_value=0.3)):
            add("resize", lambda x, z, k, i=i, kw=kw: ops.image.resize(picture(x), (7, 3), interpolation=i, **kw))
            add("resize", lambda x, z, k, i=i, kw=kw: ops.image.resize(picture(x), (3, 9), interpolation=i, **kw))
    add("gaussian_blur", lambda x, z, k: ops.image.gaussian_blur(picture(x), (3, 3), (1.0, 2.0)))
    add("gaussian_blur", lambda x, z, k: ops.image.gaussian_blur(picture(x), (3, 5), (1.0, 0.7)))
    add("extract_patches", lambda x, z, k: ops.image.extract_patches(picture(x), (2, 3), (1, 2), padding="same"))
    add("extract_patches", lambda x, z, k: ops.image.extract_patches(picture(x), 2, dilation_rate=2, strides=1))
    add("rgb_to_hsv", lambda x, z, k: ops.image.rgb_to_hsv(picture(x)))
    add("hsv_to_rgb", lambda x, z, k: ops.image.hsv_to_rgb(picture(x)))
    add("rgb_to_grayscale", lambda x, z, k: ops.image.rgb_to_grayscale(picture(x)))
    add("crop_images", lambda x, z, k: ops.image.crop_images(picture(x), 1, 1, target_height=2, target_width=3))
    add("pad_images", lambda x, z, k: ops.image.pad_images(picture(x), 1, 1, target_height=8, target_width=9))
    add("ctc_decode", lambda x, z, k: ops.ctc_decode(x, np.array([4, 4, 3, 4], "int32"), "greedy"))
    # indexing
    add("getitem", lambda x, z, k: x[:, 1])
    add("getitem", lambda x, z, k: x[..., ::-2])
    add("getitem", lambda x, z, k: x[:, None, 1:3, -1])
    add("getitem", lambda x, z, k: ops.sum(x, 0)[np.array([0, 2, 1])])
    add("getitem", lambda x, z, k: ops.sum(x, 0)[k])
    add("getitem", lambda x, z, k: x[:, [0, 2, -1]])
    add("getitem", lambda x, z, k: x[:, :, np.array([[0, 1], [3, 2]])])
    add("getitem", lambda x, z, k: ops.sum(x, 0)[np.array([0, 2]), np.array([1, 3])])
    add("getitem", lambda x, z, k: x[:, k[0, 0]])
    add("getitem", lambda x, z, k: x[1])
    add("getitem", lambda x, z, k: x[1:3])
    add("getitem", lambda x, z, k: x[-1, 2])
    add("take", lambda x, z, k: ops.take(x, [0, 5, -1], axis=2))
    add("take", lambda x, z, k: ops.take(ops.sum(x, 0), k, axis=1))
    add("take", lambda x, z, k: ops.take(ops.sum(x, 0), k + 3, axis=1))
    add("take", lambda x, z, k: ops.take(x, 3))
    add("take_along_axis", lambda x, z, k: ops.take_along_axis(x, ops.cast(pos(z) * 2 % 4, "int32"), axis=1))
    add("take_along_axis", lambda x, z, k: ops.take_along_axis(x, k[:, :, None], axis=2))
    for e in ("bii->bi", "bii->b", "bij->ji", "bij,bkj->ik", "bij,bij->", "...ij,...jk->...ik"):
        add("einsum", lambda x, z, k, e=e: ops.einsum(e, square(x), *([square(z)] if "," in e else [])))
    add("einsum", lambda x, z, k: ops.einsum("bij,bjk,bkl->bil", square(x), square(z), square(x)))
    add("einsum", lambda x, z, k: ops.einsum("bii,bjj->bij", square(x), square(z)))
    add("einsum", lambda x, z, k: ops.einsum("bij,bij", square(x), square(z)))
    add("scatter", lambda x, z, k: ops.scatter(np.array([[0], [3], [0], [2]]), ops.sum(x, 0), (5, 6)))
    for r in (None, "add", "max", "min", "mul"):
        add("scatter_update", lambda x, z, k, r=r: ops.scatter_update(ops.sum(x, 0), np.array([[0], [3], [1]]), ops.sum(z, 0)[:3], **({} if r is None else {"reduction": r})))
        add("scatter_update", lambda x, z, k, r=r: ops.scatter_update(ops.sum(z, 0), np.array([[0, 1], [3, 2], [1, 5]]), ops.sum(x, 0)[:3, 0], **({} if r is None else {"reduction": r})))
    for s in ("segment_sum", "segment_max", "segment_min", "segment_prod"):
        f = get(s)
        add(s, lambda x, z, k, f=f: f(ops.sum(x, 0), np.array([0, 2, 0, 1]), 4))
        add(s, lambda x, z, k, f=f: f(ops.sum(x, 0), np.array([0, 0, 1, 2]), sorted=True))
        add(s, lambda x, z, k, f=f: f(ops.sum(x, 0), np.array([0, 2, 0, 1])))
        add(s, lambda x, z, k, f=f: f(ops.sum(x, 0), np.array([0, -1, 0, 3]), 3))
    for a in (0, 1, -1, None):
        for n in ("sort", "argsort", "cumsum", "cumprod", "flip", "argmax", "argmin", "max", "prod", "std", "var", "median", "logsumexp", "count_nonzero"):
            f = get(n)
            add("axis." + n, lambda x, z, k, f=f, a=a: f(x, axis=a))
    add("top_k", lambda x, z, k: ops.top_k(x, 3))
    add("top_k", lambda x, z, k: ops.top_k(x, 2, sorted=False))
    add("in_top_k", lambda x, z, k: ops.in_top_k(k[:, 0], x[:, 0], 3))
    add("roll", lambda x, z, k: ops.roll(x, 2, axis=2))
    add("roll", lambda x, z, k: ops.roll(x, (1, -1), axis=(1, 2)))
    add("roll", lambda x, z, k: ops.roll(x, 1))
    add("roll", lambda x, z, k: ops.roll(x, 1, axis=0))
    add("repeat", lambda x, z, k: ops.repeat(x, 2, axis=1))
    add("repeat", lambda x, z, k: ops.repeat(x, [1, 2, 0, 1], axis=1))
    add("repeat", lambda x, z, k: ops.repeat(x, 2))
    add("tile", lambda x, z, k: ops.tile(x, (1, 2, 1)))
    add("tile", lambda x, z, k: ops.tile(x, (2, 1, 1)))
    for m in ("constant", "reflect", "symmetric"):
        add("pad", lambda x, z, k, m=m: ops.pad(x, ((0, 0), (1, 2), (2, 1)), m))
    add("pad", lambda x, z, k: ops.pad(x, ((0, 0), (1, 2), (2, 1)), "constant", 1.5))
    add("rot90", lambda x, z, k: ops.rot90(x, 1, (1, 2)))
    add("rot90", lambda x, z, k: ops.rot90(x, 3, (2, 1)))
    add("diag", lambda x, z, k: ops.diag(ops.sum(x, 0)[0], k=1))
    add("diag", lambda x, z, k: ops.diag(ops.sum(x, 0), k=-1))
    add("diagflat", lambda x, z, k: ops.diagflat(ops.sum(x, 0)[:2], k=1))
    add("diagonal", lambda x, z, k: ops.diagonal(x, offset=1, axis1=1, axis2=2))
    add("trace", lambda x, z, k: ops.trace(x, offset=-1, axis1=2, axis2=1))
    add("diff", lambda x, z, k: ops.diff(x, n=2, axis=1))
    add("vander", lambda x, z, k: ops.vander(ops.sum(x, 0)[0], 4, increasing=True))
    add("meshgrid", lambda x, z, k: ops.meshgrid(ops.sum(x, 0)[0], ops.sum(z, 0)[1], indexing="ij"))
    add("kaiser", lambda x, z, k: ops.kaiser(6, 3.0) * x if hasattr(ops, "kaiser") else x)
    add("unravel_index", lambda x, z, k: ops.unravel_index(k, (2, 3)))
    add("one_hot", lambda x, z, k: ops.one_hot(k, 5))
    add("one_hot", lambda x, z, k: ops.one_hot(k, 5, axis=1, dtype="int32"))
    add("multi_hot", lambda x, z, k: ops.multi_hot(k, 5))
    for shape in ((1, 1, 2), None):
        add("average", lambda x, z, k: ops.average(x, axis=2, weights=pos(z)))
    add("average", lambda x, z, k: ops.average(x, axis=1, weights=np.array([1.0, 2, 3, 4], "float32")))
    add("moments", lambda x, z, k: ops.moments(x, [1, 2], keepdims=True))
    add("moments", lambda x, z, k: ops.moments(ops.cast(x, "float16"), [2]))
    q = lambda x: ops.reshape(x, (-1, 4, 2, 3))
    add("dot_product_attention", lambda x, z, k: ops.dot_product_attention(q(x), q(z), q(x)))
    add("dot_product_attention", lambda x, z, k: ops.dot_product_attention(q(x), q(z), q(z), is_causal=True, scale=0.7))
    add("dot_product_attention", lambda x, z, k: ops.dot_product_attention(q(x), q(z), q(z), mask=(k > 2)[:, None, None, :]))
    add("dot_product_attention", lambda x, z, k: ops.dot_product_attention(q(x), q(z), q(z), bias=z[:, None, :, :4]))
    add("dot_product_attention", lambda x, z, k: ops.dot_product_attention(q(x), q(z)[:, :, :1], q(z)[:, :, :1]))
    add("dot_product_attention", lambda x, z, k: ops.dot_product_attention(q(x), q(z), q(z), attn_logits_soft_cap=1.5))
    add("rms_normalization", lambda x, z, k: ops.rms_normalization(x, z[:1, 0] if False else None))
    add("rms_normalization", lambda x, z, k: ops.rms_normalization(x, np.arange(6, dtype="float32"), axis=-1, epsilon=1e-3))
    add("layer_normalization", lambda x, z, k: ops.layer_normalization(x, axis=(1, 2)) if hasattr(ops, "layer_normalization") else x)
    add("layer_normalization", lambda x, z, k: ops.layer_normalization(x, np.arange(6, dtype="float32"), np.ones(6, "float32")) if hasattr(ops, "layer_normalization") else x)
    add("batch_normalization", lambda x, z, k: ops.batch_normalization(x, np.arange(6, dtype="float32"), np.ones(6, "float32"), -1, np.ones(6, "float32") * 2, None))
    add("normalize", lambda x, z, k: ops.normalize(x, axis=1, order=1))
    add("normalize", lambda x, z, k: ops.normalize(x, axis=(1, 2), order=3))
    add("polar", lambda x, z, k: ops.polar(pos(x), z) if hasattr(ops, "polar") else x)
    for n, kw in (("glu", dict(axis=-1)), ("glu", dict(axis=1)), ("gelu", dict(approximate=False)), ("elu", dict(alpha=0.3)), ("celu", dict(alpha=0.3)),
                  ("leaky_relu", dict(negative_slope=0.4)), ("softmax", dict(axis=1)), ("softmax", dict(axis=(1, 2))), ("log_softmax", dict(axis=1)),
                  ("squareplus", dict(b=2)), ("threshold", dict(threshold=0.3, default_value=-1)), ("hard_shrink", dict(threshold=0.2)),
                  ("soft_shrink", dict(threshold=0.2)), ("sparsemax", dict(axis=1)), ("softmax", dict(axis=None))):
        add(n, lambda x, z, k, n=n, kw=kw: get(n)(x, **kw))
    p = lambda x: ops.softmax(x)
    add("categorical_crossentropy", lambda x, z, k: ops.categorical_crossentropy(p(z), x, from_logits=True))
    add("categorical_crossentropy", lambda x, z, k: ops.categorical_crossentropy(ops.transpose(p(z), (0, 2, 1)), ops.transpose(p(x), (0, 2, 1)), axis=1))
    add("sparse_categorical_crossentropy", lambda x, z, k: ops.sparse_categorical_crossentropy(k, x, from_logits=True))
    add("sparse_categorical_crossentropy", lambda x, z, k: ops.sparse_categorical_crossentropy(k, ops.sigmoid(x)))
    add("binary_crossentropy", lambda x, z, k: ops.binary_crossentropy(p(z), x, from_logits=True))
    add("binary_crossentropy", lambda x, z, k: ops.binary_crossentropy(p(z), ops.clip(x, 0, 1)))
    add("ctc_loss", lambda x, z, k: ops.ctc_loss(k[:, :2] % 5 + 1, x, np.array([2, 1, 2, 2], "int32"), np.array([4, 4, 3, 4], "int32")))
    im = lambda x: ops.reshape(x, (-1, 4, 6, 1))
    for pad in ("valid", "same"):
        add("max_pool", lambda x, z, k, pad=pad: ops.max_pool(im(x), (2, 3), (1, 2), pad))
        add("average_pool", lambda x, z, k, pad=pad: ops.average_pool(im(x), (2, 3), (1, 2), pad))
        add("conv", lambda x, z, k, pad=pad: ops.conv(im(x), np.ones((2, 3, 1, 2), "float32") * 0.3, (1, 2), pad))
        add("conv", lambda x, z, k, pad=pad: ops.conv(x, ops.reshape(ops.sum(z, 0)[:3, :], (3, 6, 1)), 1, pad, dilation_rate=1))
        add("depthwise_conv", lambda x, z, k, pad=pad: ops.depthwise_conv(ops.reshape(x, (-1, 4, 3, 2)), np.arange(8.0, dtype="float32").reshape(2, 2, 2, 1) * 0.1, 1, pad))
        add("separable_conv", lambda x, z, k, pad=pad: ops.separable_conv(ops.reshape(x, (-1, 4, 3, 2)), np.arange(8.0, dtype="float32").reshape(2, 2, 2, 1) * 0.1, np.ones((1, 1, 2, 3), "float32"), 1, pad))
    add("unfold", lambda x, z, k: ops.unfold(ops.reshape(x, (-1, 1, 4, 6)), (2, 3), stride=(1, 2), padding=1) if hasattr(ops, "unfold") else x)
    add("psnr", lambda x, z, k: ops.psnr(x, z, 2.0))
    add("digitize", lambda x, z, k: ops.digitize(x, np.array([-1.0, 0, 1])))
    add("searchsorted", lambda x, z, k: ops.searchsorted(np.array([-1.0, 0, 1], "float32"), ops.sum(x, 0)[0]))
    add("view", lambda x, z, k: ops.view(x, "int32"))
    add("view", lambda x, z, k: ops.view(x, "int16"))
    add("view", lambda x, z, k: ops.view(ops.cast(x, "float16"), "int32"))
    add("isin", lambda x, z, k: ops.isin(k, [1, 3]))
    add("cov", lambda x, z, k: ops.cov(ops.sum(x, 0)) if hasattr(ops, "cov") else x)
    add("corrcoef", lambda x, z, k: ops.corrcoef(ops.sum(x, 0)))
    add("kron", lambda x, z, k: ops.kron(ops.sum(x, 0), ops.sum(z, 0)[:2]))
    add("cross", lambda x, z, k: ops.cross(x[:, :, :3], z[:, :, 3:]))
    add("cross", lambda x, z, k: ops.cross(x[:, :, :2], z[:, :, 4:]))
    add("nonzero", lambda x, z, k: ops.nonzero(k))
    add("logical", lambda x, z, k: ops.logical_and(x, z))
    add("erfc", lambda x, z, k: ops.erfc(x * 3))
    add("space_to_depth", lambda x, z, k: ops.space_to_depth(im(x), 2) if hasattr(ops, "space_to_depth") else x)
    add("depth_to_space", lambda x, z, k: ops.depth_to_space(ops.reshape(x, (-1, 2, 3, 4)), 2) if hasattr(ops, "depth_to_space") else x)
    add("ssim", lambda x, z, k: ops.image.ssim(ops.tile(im(p(x)), (1, 4, 3, 1)), ops.tile(im(p(z)), (1, 4, 3, 1)), 1.0) if hasattr(ops.image, "ssim") else x)
    add("sobel", lambda x, z, k: ops.image.sobel_edges(im(x)) if hasattr(ops.image, "sobel_edges") else x)
    R = keras.random
    for n, f in (("random.normal", lambda x: R.normal((4, 6), seed=3) + x), ("random.uniform", lambda x: R.uniform((4, 6), seed=3) + x),
                 ("random.dropout", lambda x: R.dropout(x, 0.4, seed=3))):
        add(n, lambda x, z, k, f=f: f(x))


def probes():
    yield from hand()
    yield from unary_dtypes()
    yield from casts()
    yield from binary_dtypes()
