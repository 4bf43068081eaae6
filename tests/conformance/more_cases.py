"""Further conformance cases: the operations of keras.ops beyond those of
dev_cases.py, many per model, and preprocessing layers. `FAMILIES` maps a name to
functions of (x, z, k): floats (n, 4, 6) behind a Dense layer, floats (n, 4, 6),
integers 0..5 (n, 4). Each gives one tensor or a list of them; all are flattened,
joined and go through a Dense layer, so that training tests the gradients too."""
import math

import numpy as np
import keras
from corpus import case, make, chain
from keras import layers as L, ops, optimizers as O


def pos(x):
    return ops.abs(x) + 0.5


def img(x):
    return ops.reshape(x, (-1, 4, 2, 3))


def picture(x):
    return ops.sigmoid(ops.reshape(x, (-1, 4, 6, 1)) * np.array([1.0, 0.5, -0.8], "float32"))


FAMILIES = {
    "unary": [
        lambda x, z, k: ops.exp2(x), lambda x, z, k: ops.cbrt(pos(x)), lambda x, z, k: ops.deg2rad(x),
        lambda x, z, k: ops.rad2deg(x) * 0.01, lambda x, z, k: ops.sinc(x), lambda x, z, k: ops.erfc(x),
        lambda x, z, k: ops.log2(pos(x)), lambda x, z, k: ops.log10(pos(x)), lambda x, z, k: ops.reciprocal(pos(x)),
        lambda x, z, k: ops.angle(x), lambda x, z, k: ops.isinf(x), lambda x, z, k: ops.isnan(x),
        lambda x, z, k: ops.isposinf(x), lambda x, z, k: ops.isneginf(x), lambda x, z, k: ops.isfinite(x),
        lambda x, z, k: ops.round(x, 1), lambda x, z, k: ops.round(x), lambda x, z, k: ops.trunc(x * 3),
        lambda x, z, k: ops.signbit(x), lambda x, z, k: ops.nan_to_num(x), lambda x, z, k: ops.logical_not(x > 0),
        lambda x, z, k: ops.bitwise_invert(k), lambda x, z, k: ops.copy(x), lambda x, z, k: ops.real(x),
        lambda x, z, k: ops.imag(x), lambda x, z, k: ops.conj(x), lambda x, z, k: ops.isreal(x),
        lambda x, z, k: ops.saturate_cast(x * 300, "int8"), lambda x, z, k: ops.square(k), lambda x, z, k: ops.sqrt(k),
        lambda x, z, k: ops.floor(k), lambda x, z, k: ops.exp(ops.cast(k, "int64")), lambda x, z, k: ops.negative(k),
        lambda x, z, k: ops.sign(k - 2), lambda x, z, k: ops.erfinv(ops.tanh(x) * 0.9), lambda x, z, k: ops.expm1(x),
        lambda x, z, k: ops.rsqrt(pos(x)), lambda x, z, k: ops.arcsinh(x), lambda x, z, k: ops.arctanh(x * 0.1),
        lambda x, z, k: ops.view(x, "int32") > 0, lambda x, z, k: ops.fabs(x),
    ],
    "binary": [
        lambda x, z, k: ops.floor_divide(x * 5, z), lambda x, z, k: ops.floor_divide(k - 3, 2),
        lambda x, z, k: ops.mod(x * 3, pos(z)), lambda x, z, k: ops.mod(k - 3, 4), lambda x, z, k: ops.fmod(x * 3, pos(z)),
        lambda x, z, k: ops.divide_no_nan(x, ops.where(z > 0, z + 1.0, 0.0)), lambda x, z, k: ops.hypot(x, z),
        lambda x, z, k: ops.logaddexp(x, z), lambda x, z, k: ops.logaddexp2(x, z), lambda x, z, k: ops.fmax(x, z),
        lambda x, z, k: ops.fmin(x, z), lambda x, z, k: ops.heaviside(x, z), lambda x, z, k: ops.ldexp(x[:, :, 0], k),
        lambda x, z, k: ops.arctan2(x, z), lambda x, z, k: ops.power(pos(x), z), lambda x, z, k: ops.power(k, 2),
        lambda x, z, k: ops.isclose(x, z, 0.5, 0.5),
        lambda x, z, k: ops.digitize(x, np.array([-0.5, 0.0, 0.5], "float32")),
        lambda x, z, k: ops.searchsorted(np.array([1, 3, 3, 5], "int32"), ops.sum(k, axis=0), side="right"),
        lambda x, z, k: ops.bitwise_and(k, k + 3), lambda x, z, k: ops.bitwise_or(k, k * 8), lambda x, z, k: ops.bitwise_xor(k, k + 1),
        lambda x, z, k: ops.left_shift(k, 2), lambda x, z, k: ops.right_shift(k * 9, 1),
        lambda x, z, k: ops.clip(x, -0.5, 0.7), lambda x, z, k: ops.clip(k, 1, 3),
        lambda x, z, k: ops.select([x > 0.5, z > 0], [x, z * 2], 0.25), lambda x, z, k: ops.where(k[:, :, None] > 2, x, 1.5),
        lambda x, z, k: ops.logical_xor(x > 0, z > 0), lambda x, z, k: ops.add(k, 1.5), lambda x, z, k: ops.multiply(x, k[:, :, None]),
        lambda x, z, k: ops.divide(k, 4), lambda x, z, k: ops.add(x, np.arange(6.0, dtype="float32")), lambda x, z, k: ops.subtract(1, k),
        lambda x, z, k: ops.maximum(x, k[:, :, None]), lambda x, z, k: ops.not_equal(k, 2), lambda x, z, k: ops.true_divide(x, pos(z)),
    ],
    "reduce": [
        lambda x, z, k: ops.amax(x, axis=1), lambda x, z, k: ops.max(x, axis=(1, 2), initial=0.4), lambda x, z, k: ops.min(k, axis=-1, initial=2),
        lambda x, z, k: ops.prod(x, axis=-1, keepdims=True), lambda x, z, k: ops.prod(k + 1, axis=1), lambda x, z, k: ops.sum(k, axis=1),
        lambda x, z, k: ops.mean(k, axis=1), lambda x, z, k: ops.std(x, axis=(1, 2)), lambda x, z, k: ops.var(x, axis=-2),
        lambda x, z, k: ops.count_nonzero(k, axis=1), lambda x, z, k: ops.ptp(x, axis=-1), lambda x, z, k: ops.logsumexp(x, axis=-1, keepdims=True),
        lambda x, z, k: ops.logsumexp(x, axis=(1, 2)), lambda x, z, k: ops.norm(x, axis=-1), lambda x, z, k: ops.norm(x, ord=1, axis=-1),
        lambda x, z, k: ops.norm(x, ord=3, axis=1), lambda x, z, k: ops.norm(x, ord=math.inf, axis=2), lambda x, z, k: ops.norm(x, ord=-math.inf, axis=2),
        lambda x, z, k: ops.norm(x, ord="fro", axis=(1, 2)), lambda x, z, k: ops.norm(x, ord=1, axis=(1, 2)),
        lambda x, z, k: ops.norm(x, ord=math.inf, axis=(-2, -1), keepdims=True), lambda x, z, k: ops.norm(x, ord=0, axis=-1),
        lambda x, z, k: ops.argmax(x, axis=-1), lambda x, z, k: ops.argmin(x, axis=1, keepdims=True), lambda x, z, k: ops.argmax(k, axis=1),
        lambda x, z, k: ops.average(x, axis=1), lambda x, z, k: ops.average(x, axis=-1, weights=np.arange(1.0, 7.0, dtype="float32")),
        lambda x, z, k: ops.average(ops.sum(x, axis=0), weights=ops.sum(pos(z), axis=0)), lambda x, z, k: ops.moments(x, axes=[1]),
        lambda x, z, k: ops.cumsum(x, axis=1), lambda x, z, k: ops.cumprod(x, axis=-1), lambda x, z, k: ops.cumsum(k, axis=-1, dtype="float32"),
        lambda x, z, k: ops.trapezoid(x, dx=0.5), lambda x, z, k: ops.trapezoid(x, axis=1),
        lambda x, z, k: ops.any(x > 1, axis=-1), lambda x, z, k: ops.all(x > -1, axis=(1, 2), keepdims=True),
        lambda x, z, k: ops.nansum(x, axis=1), lambda x, z, k: ops.nanmean(x, axis=-1), lambda x, z, k: ops.nanmax(x, axis=1),
        lambda x, z, k: ops.nanmin(x, axis=1), lambda x, z, k: ops.nanprod(x, axis=-1), lambda x, z, k: ops.nanvar(x, axis=1),
        lambda x, z, k: ops.nanstd(x, axis=1), lambda x, z, k: ops.nanargmax(x, axis=-1), lambda x, z, k: ops.nanargmin(x, axis=-1),
        lambda x, z, k: ops.nancumsum(x, axis=1), lambda x, z, k: ops.nancumprod(x, axis=1),
        lambda x, z, k: ops.segment_sum(ops.sum(x, axis=0), np.array([0, 1, 0, 1], "int32"), num_segments=2),
        lambda x, z, k: ops.mean(x), lambda x, z, k: ops.max(x), lambda x, z, k: ops.sum(x, axis=0), lambda x, z, k: ops.var(x, axis=0),
    ],
    "order": [
        lambda x, z, k: ops.sort(x, axis=1), lambda x, z, k: ops.sort(x), lambda x, z, k: ops.argsort(x, axis=-1), lambda x, z, k: ops.argsort(k),
        lambda x, z, k: ops.top_k(x, 3), lambda x, z, k: ops.in_top_k(k[:, 0], x[:, 0], 2), lambda x, z, k: ops.median(x, axis=-1),
        lambda x, z, k: ops.median(x, axis=(1, 2), keepdims=True), lambda x, z, k: ops.quantile(x, 0.3, axis=1),
        lambda x, z, k: ops.percentile(x, 70.0, axis=-1, method="nearest"), lambda x, z, k: ops.quantile(x, 0.3, axis=-1, method="lower"),
        lambda x, z, k: ops.quantile(x, 0.3, axis=-1, method="higher"), lambda x, z, k: ops.quantile(x, 0.3, axis=-1, method="midpoint"),
        lambda x, z, k: ops.sparsemax(x), lambda x, z, k: ops.sort(k, axis=1),
    ],
    "product": [
        lambda x, z, k: ops.dot(x, MATRIX), lambda x, z, k: ops.dot(x, MATRIX[:, 0]),
        lambda x, z, k: ops.tensordot(x, MATRIX, axes=1), lambda x, z, k: ops.tensordot(x, MATRIX, axes=[[2], [0]]),
        lambda x, z, k: ops.tensordot(x, np.ones((4, 6, 2), "float32"), axes=2), lambda x, z, k: ops.matmul(x, ops.transpose(z, (0, 2, 1))),
        lambda x, z, k: ops.matmul(x, MATRIX[:, 0]), lambda x, z, k: ops.einsum("bij,bkj->bik", x, z), lambda x, z, k: ops.einsum("...j,jk", x, MATRIX),
        lambda x, z, k: ops.einsum("bij,bij,jk->bk", x, z, MATRIX), lambda x, z, k: ops.einsum("bij->bj", x), lambda x, z, k: ops.einsum("bij->bji", x),
        lambda x, z, k: ops.einsum("bi...,b...i->b...", ops.transpose(x, (0, 2, 1)), z),
        lambda x, z, k: ops.cross(x[:, :, :3], z[:, :, 3:]), lambda x, z, k: ops.cross(x[:, :, :2], z[:, :, 3:]), lambda x, z, k: ops.cross(x[:, :, :2], z[:, :, 3:5]),
        lambda x, z, k: ops.cdist(x, z), lambda x, z, k: ops.outer(ops.sum(x, axis=(0, 1)), np.array([1.0, 2.0], "float32")),
    ],
    "shape": [
        lambda x, z, k: ops.moveaxis(x, 1, 2), lambda x, z, k: ops.moveaxis(img(x), [1, 3], [3, 2]), lambda x, z, k: ops.stack([x, z], axis=-1), lambda x, z, k: ops.hstack([x, z]), lambda x, z, k: ops.dstack([x, z]), lambda x, z, k: ops.append(x, z, axis=2),
        lambda x, z, k: ops.split(x, 3, axis=-1), lambda x, z, k: ops.split(x, [1, 4], axis=2)[1], lambda x, z, k: ops.array_split(x, 4, axis=2),
        lambda x, z, k: ops.hsplit(x, 2)[1], lambda x, z, k: ops.dsplit(x, 3)[2], lambda x, z, k: ops.unstack(x, axis=1)[2], lambda x, z, k: ops.fliplr(x),
        lambda x, z, k: ops.flip(x, axis=(1, 2)), lambda x, z, k: ops.rot90(x, 1, (1, 2)), lambda x, z, k: ops.rot90(x, 3, (1, 2)), lambda x, z, k: ops.rot90(x[:, :, :4], 2, (2, 1)),
        lambda x, z, k: ops.roll(x, 2, axis=1), lambda x, z, k: ops.roll(x, (1, -2), axis=(1, 2)), lambda x, z, k: ops.tile(x, (1, 2, 1)), lambda x, z, k: ops.repeat(x, 2, axis=1),
        lambda x, z, k: ops.repeat(x, [1, 0, 2, 1], axis=1), lambda x, z, k: ops.pad(x, ((0, 0), (1, 2), (0, 1)), constant_values=0.5),
        lambda x, z, k: ops.pad(x, ((0, 0), (1, 2), (0, 1)), mode="reflect"), lambda x, z, k: ops.pad(x, ((0, 0), (1, 2), (2, 0)), mode="symmetric"),
        lambda x, z, k: ops.tril(x), lambda x, z, k: ops.triu(x, 1), lambda x, z, k: ops.tril(x, -1), lambda x, z, k: ops.diagonal(x, 1, 1, 2), lambda x, z, k: ops.trace(x, 0, 2, 1),
        lambda x, z, k: ops.diff(x), lambda x, z, k: ops.diff(x, 2, axis=1), lambda x, z, k: ops.extract_sequences(x, 3, 2), lambda x, z, k: ops.swapaxes(x, 1, 2),
        lambda x, z, k: ops.expand_dims(x, (1, 3)), lambda x, z, k: ops.squeeze(x[:, :1], 1), lambda x, z, k: ops.ravel(ops.sum(x, axis=0)), lambda x, z, k: ops.meshgrid(x[:, 0, 0], np.array([1.0, 2.0], "float32"), indexing="ij"),
    ],
    "index": [
        lambda x, z, k: x[:, 1], lambda x, z, k: x[:, ::2, 1:-1], lambda x, z, k: x[..., -1], lambda x, z, k: x[:, None, ::-1], lambda x, z, k: ops.take(x, [0, 2, -1], axis=1),
        lambda x, z, k: ops.take(x, np.array([[0, 1], [5, 3]], "int32"), axis=-1), lambda x, z, k: ops.take(np.arange(12.0, dtype="float32").reshape(6, 2), k, axis=0),
        lambda x, z, k: ops.take_along_axis(x, k[:, :, None], axis=2), lambda x, z, k: ops.take_along_axis(x, ops.argsort(x, axis=1), axis=1),
        lambda x, z, k: ops.one_hot(k, 6), lambda x, z, k: ops.one_hot(k, 4, axis=1), lambda x, z, k: ops.multi_hot(k, 6), lambda x, z, k: ops.unravel_index(k, (2, 3)),
        lambda x, z, k: ops.scatter_update(np.zeros((4, 6), "float32"), np.array([[0, 1], [2, 3]], "int32"), ops.sum(x, axis=0)[0, :2]),
        lambda x, z, k: ops.scatter(np.array([[0], [2], [0], [1]], "int32"), ops.sum(x, axis=0), (3, 6)),
        lambda x, z, k: ops.slice_update(ops.sum(z, axis=0), [1, 2], ops.sum(z, axis=0)[:2, :3] * 2),
        lambda x, z, k: ops.ones_like(x), lambda x, z, k: ops.zeros_like(k), lambda x, z, k: ops.full_like(x, 2.5), lambda x, z, k: ops.linspace(x[:, 0, 0], 3.0, num=4, axis=-1),
        lambda x, z, k: ops.linspace(x[:, 0, 0], z[:, 0, 0], num=4, endpoint=False, axis=1), lambda x, z, k: ops.logspace(x[:, 0, 0] * 0.1, 0.3, num=3, axis=-1),
        lambda x, z, k: ops.vander(x[:, 0, 0] + 3.0, N=3), lambda x, z, k: ops.cast(k, "bool"), lambda x, z, k: ops.maximum(ops.segment_max(x[:, 0], k[:, 0], num_segments=6), -5.0),
        lambda x, z, k: ops.segment_sum(x[:, 0], k[:, 0], num_segments=6), lambda x, z, k: ops.segment_min(ops.sum(x, axis=0), np.array([0, 1, 1, 0], "int32"), num_segments=2),
        lambda x, z, k: ops.segment_prod(ops.sum(x, axis=0), np.array([0, 1, 1, 0], "int32"), num_segments=3), lambda x, z, k: ops.diag(ops.sum(x, axis=0)), lambda x, z, k: ops.diag(ops.sum(x, axis=0)[0], k=1),
        lambda x, z, k: ops.diagflat(ops.sum(x, axis=0)[:2, :2], k=-1), lambda x, z, k: ops.size(x),
    ],
    "nn": [
        lambda x, z, k: ops.conv(x, W(3, 6, 4), padding="same"), lambda x, z, k: ops.conv(x, W(2, 6, 4), strides=2, padding="valid"),
        lambda x, z, k: ops.conv(img(x), W(2, 2, 3, 4), padding="same", dilation_rate=2), lambda x, z, k: ops.depthwise_conv(img(x), W(2, 2, 3, 2)),
        lambda x, z, k: ops.separable_conv(img(x), W(2, 2, 3, 2), W(1, 1, 6, 4), padding="same"),
        lambda x, z, k: ops.max_pool(img(x), 2, 1, "same"), lambda x, z, k: ops.average_pool(img(x), (2, 2), (2, 1), "same"), lambda x, z, k: ops.max_pool(x, 2),
        
        lambda x, z, k: ops.batch_normalization(x, np.arange(6.0, dtype="float32") * 0.1, np.ones(6, "float32"), -1, np.ones(6, "float32"), np.full(6, 2.0, "float32")),
        lambda x, z, k: ops.layer_normalization(x, np.full(6, 1.5, "float32"), np.full(6, 0.5, "float32")), lambda x, z, k: ops.layer_normalization(x, axis=(1, 2)),
        lambda x, z, k: ops.rms_normalization(x, np.full(6, 1.5, "float32")), lambda x, z, k: ops.normalize(x), lambda x, z, k: ops.normalize(x, axis=1, order=3),
        lambda x, z, k: ops.dot_product_attention(ops.reshape(x, (-1, 4, 2, 3)), ops.reshape(z, (-1, 4, 2, 3)), ops.reshape(x, (-1, 4, 2, 3)), is_causal=True),
        lambda x, z, k: ops.dot_product_attention(ops.reshape(x, (-1, 4, 2, 3)), ops.reshape(z, (-1, 4, 2, 3)), ops.reshape(x, (-1, 4, 2, 3)), scale=0.3),
        lambda x, z, k: ops.binary_crossentropy(ops.sigmoid(z), ops.sigmoid(x)), lambda x, z, k: ops.binary_crossentropy(ops.sigmoid(z), x, from_logits=True),
        lambda x, z, k: ops.categorical_crossentropy(ops.softmax(z), ops.softmax(x)), lambda x, z, k: ops.sparse_categorical_crossentropy(k, x, from_logits=True),
        lambda x, z, k: ops.sparse_categorical_crossentropy(k, ops.softmax(x)), lambda x, z, k: ops.psnr(x, z, 2.0),
        lambda x, z, k: ops.ctc_loss(k[:, :2] % 4 + 1, x, ops.minimum(k[:, 3] * 0 + 2, 2), k[:, 3] * 0 + 4),
        lambda x, z, k: ops.ctc_loss(k[:, :2] % 4 + 1, x, k[:, 2] % 2 + 1, k[:, 3] % 2 + 3, mask_index=0),
        lambda x, z, k: ops.depth_to_space(ops.reshape(x, (-1, 2, 3, 4)), 2), lambda x, z, k: ops.space_to_depth(ops.reshape(x, (-1, 4, 6, 1)), 2),
        lambda x, z, k: ops.glu(x), lambda x, z, k: ops.squareplus(x), lambda x, z, k: ops.tanh_shrink(x), lambda x, z, k: ops.hard_shrink(x), lambda x, z, k: ops.threshold(x, 0.1, -1.0),
        lambda x, z, k: ops.softmax(x, axis=1), lambda x, z, k: ops.log_softmax(x), lambda x, z, k: ops.celu(x, 0.5), lambda x, z, k: ops.elu(x, 0.7), lambda x, z, k: ops.gelu(x, False),
        lambda x, z, k: ops.soft_shrink(x, 0.3), lambda x, z, k: ops.sparse_plus(x), lambda x, z, k: ops.sparse_sigmoid(x), lambda x, z, k: ops.leaky_relu(x, 0.3),
    ],
    "image": [
        lambda x, z, k: ops.image.resize(picture(x), (7, 9)), lambda x, z, k: ops.image.resize(picture(x), (3, 4), interpolation="nearest"),
        lambda x, z, k: ops.image.resize(picture(x), (6, 5), interpolation="bicubic"), lambda x, z, k: ops.image.resize(picture(x), (3, 8), interpolation="lanczos3"),
        lambda x, z, k: ops.image.resize(picture(x), (3, 8), interpolation="lanczos5", antialias=True), lambda x, z, k: ops.image.resize(picture(x), (2, 3), antialias=True),
        lambda x, z, k: ops.image.resize(picture(x), (2, 3), interpolation="bicubic", antialias=True), lambda x, z, k: ops.image.resize(picture(x), (3, 3), crop_to_aspect_ratio=True),
        lambda x, z, k: ops.image.resize(picture(x), (5, 5), pad_to_aspect_ratio=True, fill_value=0.5), lambda x, z, k: ops.image.pad_images(picture(x), 1, 2, target_height=7, target_width=9),
        lambda x, z, k: ops.image.crop_images(picture(x), 1, 2, target_height=2, target_width=3), lambda x, z, k: ops.image.rgb_to_grayscale(picture(x)),
        lambda x, z, k: ops.image.rgb_to_hsv(picture(x)), lambda x, z, k: ops.image.hsv_to_rgb(ops.stop_gradient(picture(x))), lambda x, z, k: ops.image.gaussian_blur(picture(x), (3, 3), (0.8, 1.2)),
        lambda x, z, k: ops.image.extract_patches(picture(x), (2, 3)), lambda x, z, k: ops.image.sobel_edges(picture(x)),
        lambda x, z, k: ops.image.ssim(picture(x), picture(z), filter_size=3),
    ],
}
MATRIX = (np.arange(18.0, dtype="float32").reshape(6, 3) / 9 - 1)


def W(*shape):
    n = int(np.prod(shape))
    return (np.sin(np.arange(n) * 1.7) * 0.4).reshape(shape).astype("float32")


def flat(t, x):
    """(n, features) floats; what has no batch dimension is added to zeros of it."""
    t = ops.cast(t, "float32")
    if len(t.shape) == 0 or t.shape[0] is not None:
        t = ops.reshape(t, (1, -1)) + ops.zeros_like(x[:, :1, 0])
    return ops.reshape(t, (-1, math.prod(t.shape[1:])))


def join(functions, x, z, k):
    parts = []
    for f in functions:
        r = f(x, z, k)
        parts += [flat(t, x) for t in (r if isinstance(r, (list, tuple)) else [r])]
    return ops.concatenate(parts, axis=-1)


def inputs():
    return keras.Input((4, 6), name="x"), keras.Input((4, 6), name="z"), keras.Input((4,), dtype="int32", name="k")


def declare(name, functions):
    @case("more", name, n=6, batch=6, epochs=3, jax=False)
    def _(d):
        x, z, k = inputs()
        h = L.Dense(6)(x)
        return (make([x, z, k], L.Dense(2)(join(functions, h, z, k)), O.SGD(1e-4)),
                {"x": d.f(4, 6), "z": d.f(4, 6), "k": d.i(6, 4)}, d.f(2))


for family, functions in FAMILIES.items():
    declare("ops_" + family, functions)


@case("more", "preprocessing_numbers", n=6, batch=6, epochs=3, jax=False)
def _(d):
    a, b = keras.Input((4,), dtype="int32", name="a"), keras.Input((4, 3), name="b")
    parts = [L.CategoryEncoding(6, "multi_hot")(a), L.CategoryEncoding(6, "count")(a), L.CategoryEncoding(6, "one_hot")(a[:, :1]),
             L.Discretization([-0.5, 0.5])(b[:, 0]), L.Discretization([-0.5, 0.5], output_mode="multi_hot")(b[:, 0]),
             L.IntegerLookup(vocabulary=[5, 2, 3])(a), L.IntegerLookup(vocabulary=[5, 2, 3], output_mode="multi_hot")(a),
             L.Rescaling([0.5, 1.0, 2.0], offset=[0.0, 0.1, 0.2])(b), L.Normalization(axis=None, mean=0.3, variance=2.0)(b),
             L.Normalization(axis=(1, 2), mean=W(4, 3).tolist(), variance=(W(4, 3) + 1).tolist(), invert=True)(b)]
    y = ops.concatenate([flat(p, b) for p in parts], axis=-1)
    return make([a, b], L.Dense(2)(y), O.SGD(0.01)), {"a": d.i(6, 4), "b": d.f(4, 3)}, d.f(2)


@case("more", "preprocessing_images", n=6, batch=6, epochs=3, jax=False)
def _(d):
    i = keras.Input((7, 9, 3))
    x = L.Resizing(6, 5, interpolation="bicubic", crop_to_aspect_ratio=True)(i)
    x = L.Conv2D(3, 3, padding="same")(x)
    parts = [L.CenterCrop(4, 3)(x), L.CenterCrop(7, 3)(x), L.AdaptiveAveragePooling2D((2, 3))(x), L.AdaptiveMaxPooling2D((4, 2))(x),
             L.UpSampling2D((2, 1), interpolation="lanczos3")(x)]
    y = ops.concatenate([L.Flatten()(p) for p in parts], axis=-1)
    return make(i, L.Dense(2)(y), O.SGD(0.01)), d.f(7, 9, 3), d.f(2)


@case("more", "augmentation_inference", n=5, batch=2, train=False, jax=False)
def _(d):
    i = keras.Input((7, 9, 3))
    x = chain(i, L.RandomFlip(), L.RandomRotation(0.1), L.RandomZoom(0.2), L.RandomContrast(0.2), L.Conv2D(2, 3))
    return keras.Model(i, x), d.f(7, 9, 3), None


WORDS = ["a", "b", "Zebra", "zebra", "caf\u00e9", "new york", "Hello, world!", "", "a b  c", "\u65e5\u672c", "x" * 70, "A-b c\td"]


@case("more", "text_lookup", n=9, batch=4, train=False, jax=False)
def _(d):
    s = keras.Input((3,), dtype="string")
    v = ["a", "b", "zebra", "\u65e5\u672c"]
    layers = [L.StringLookup(vocabulary=v, **kw) for kw in (
        {}, {"num_oov_indices": 3}, {"num_oov_indices": 3, "salt": 133}, {"mask_token": "caf\u00e9"}, {"output_mode": "one_hot"},
        {"output_mode": "multi_hot", "mask_token": ""}, {"output_mode": "count", "max_tokens": 9, "pad_to_max_tokens": True})]
    parts = [L.Flatten()(ops.cast(layer(s), "float32")) for layer in layers]
    back = L.StringLookup(vocabulary=v, invert=True)(L.StringLookup(vocabulary=v[1:])(s))
    parts += [L.Flatten()(ops.cast(layer(s), "float32")) for layer in (
        L.Hashing(9), L.Hashing(9, salt=[1, 2]), L.Hashing(9, mask_value=""), L.Hashing(5, output_mode="count"))]
    moved = L.Concatenate()([L.Reshape((3, 1))(s), ops.expand_dims(ops.flip(s, 1), -1)])
    parts.append(L.Flatten()(ops.cast(L.StringLookup(vocabulary=v)(moved), "float32")))
    return keras.Model(s, [L.Concatenate()(parts), back, s[:, :2]]), d.words(WORDS, 3), None


@case("more", "text_vectorization", n=9, batch=4, train=False, jax=False)
def _(d):
    s = keras.Input((1,), dtype="string")
    v = ["a", "b", "zebra", "a b", "\u65e5", "hello world", "b  c"]
    layers = [L.TextVectorization(vocabulary=v, **kw) for kw in (
        {"output_sequence_length": 4}, {"output_sequence_length": 7, "ngrams": 2}, {"output_sequence_length": 9, "ngrams": (1, 3)},
        {"output_sequence_length": 5, "split": "character"}, {"output_sequence_length": 5, "standardize": None},
        {"output_sequence_length": 5, "standardize": "lower", "max_tokens": 20}, {"output_sequence_length": 5, "standardize": "strip_punctuation"},
        {"output_mode": "multi_hot"}, {"output_mode": "count", "ngrams": 2, "max_tokens": 12, "pad_to_max_tokens": True},
        {"output_mode": "tf_idf", "idf_weights": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]}, {"split": None})]
    parts = [L.Reshape((-1,))(ops.cast(layer(s), "float32")) for layer in layers]
    return keras.Model(s, [L.Concatenate()(parts[:7]), *parts[7:]]), d.words(WORDS, 1), None


@case("more", "text_adapted", n=9, batch=4, fmt="keras", jax=False)
def _(d):
    s = keras.Input((1,), dtype="string")
    data = d.words(WORDS, 4)
    text = L.TextVectorization(max_tokens=9, output_mode="tf_idf", ngrams=2)
    word = L.StringLookup(mask_token="", output_mode="int")
    text.adapt(data.reshape(-1)), word.adapt(data)
    x = L.Concatenate()([text(s[:, 0]), L.Flatten()(L.Embedding(15, 2)(word(s)))])
    return make(s, L.Dense(2)(x), O.SGD(0.05)), d.words(WORDS, 1), d.f(2)


@case("more", "integer_lookup", n=9, batch=4, train=False, jax=False)
def _(d):
    i = keras.Input((3,), dtype="int32")
    layers = [L.IntegerLookup(vocabulary=[5, -2, 3], **kw) for kw in (
        {}, {"num_oov_indices": 3}, {"num_oov_indices": 3, "oov_method": "farmhash"}, {"mask_token": 0, "num_oov_indices": 2},
        {"num_oov_indices": 2, "oov_method": "farmhash", "salt": [7, 8]}, {"output_mode": "one_hot"}, {"output_mode": "count", "mask_token": 4},
        {"output_mode": "tf_idf", "idf_weights": [0.1, 0.2, 0.3]}, {"invert": True}, {"invert": True, "mask_token": 0, "oov_token": -9})]
    parts = [L.Flatten()(ops.cast(layer(i), "float32")) for layer in layers]
    parts += [L.Flatten()(ops.cast(L.Hashing(6, **kw)(i), "float32")) for kw in ({}, {"mask_value": 2}, {"output_mode": "multi_hot"})]
    parts.append(ops.cast(L.HashedCrossing(11, output_mode="one_hot")([i[:, :1], i[:, 1:2]]), "float32"))
    return keras.Model(i, L.Concatenate()(parts)), d.i(9, 3, lo=-4), None


@case("more", "ops_rows", n=4, batch=4, epochs=1, jax=False)
def _(d):
    i = keras.Input((4, 6), name="i")
    j = keras.Input((4,), dtype="int32", name="j")
    x = L.Dense(6)(i)
    s = ops.mean(x, 0)
    rows, picks = np.array([[0], [3], [1]]), np.array([[0, 1], [3, 2], [1, 5]])
    parts = [x * x[0], x - x[-1], ops.take(x, 2, axis=0) + x, ops.take(x, [0, -1], axis=0)[1] * x]
    parts += [x * ops.scatter_update(s, rows, s[1:, :] * 2, reduction=r) for r in ("max", "min")]
    parts += [x * ops.scatter_update(s, picks, s[:3, 0] * 3, reduction=r) for r in ("max", "min")]
    parts += [x * ops.stop_gradient(ops.scatter_update(s, ops.mod(j[:, :1], 4), x[:, 0], reduction="mul"))]
    b = ops.cast(j, "int8")
    parts += [x[:, :, :4] * ops.cast(ops.matmul(b[:, :, None], b[:, None, :]), "float32") * 0.1]
    halves = ops.vdot(ops.cast(ops.stop_gradient(x), "float16"), x) * 0.01
    wraps = ops.cast(ops.vdot(b * 9, b * 7), "float32") * 0.01
    parts += [x * halves, x * wraps, x + ops.cast(ops.nextafter(ops.cast(ops.stop_gradient(x), "float64"), 2), "float32")]
    return make([i, j], L.Dense(2)(L.Concatenate()([L.Flatten()(p) for p in parts])), O.SGD(0.01)), {"i": d.f(4, 6), "j": d.i(5, 4)}, d.f(2)
