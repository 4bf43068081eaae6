"""Conformance cases of image augmentation in training: every class with settings that are not the default. The batches'
losses depend on the drawn numbers; with no rate of learning they are those of one set of weights."""
import keras
from corpus import case
from keras import layers as L, optimizers as O, ops

SHAPE, FIRST = (6, 7, 3), (3, 6, 7)
S = dict(seed=11)


def model(make, shape=SHAPE, scale=255.0):
    """Branches of augmentation side by side; each gives one number an image."""
    i = keras.Input(shape)
    parts = []
    for layer in make():
        x = L.Rescaling(1 / scale)(layer(i))
        kernel = keras.initializers.RandomUniform(-1, 1, seed=len(parts))
        parts.append(L.Dense(1, use_bias=False, kernel_initializer=kernel)(L.Flatten()(x)))
    m = keras.Model(i, ops.concatenate(parts, axis=-1))
    m.compile(O.SGD(1e-5), "mse")
    return m, len(parts)


FAMILIES = {
    "colours": (SHAPE, 255.0, lambda: [
        L.RandomBrightness(0.3, **S), L.RandomBrightness((-0.1, 0.4), value_range=(10, 200), **S), L.RandomContrast((0.2, 0.9), **S),
        L.RandomColorDegeneration(0.7, **S), L.RandomSaturation((0.1, 0.6), **S), L.RandomHue((0.2, 0.5), **S),
        L.RandomGrayscale(1.0), L.RandomInvert((0.3, 0.6), **S), L.RandomPosterization(5, **S),
        L.RandomPosterization((3, 3), value_range=(0, 300), **S), L.RandomSharpness((0.3, 0.9), **S),
        L.RandomGaussianBlur(0.9, 3, 0.8, **S), L.RandomGaussianBlur((0.5, 1.0), (3, 5), (0.3, 0.9), **S),
        L.Solarization((0.1, 0.3), (0.2, 0.9), **S), L.RandomColorJitter((0, 255), 0.3, 0.4, 0.2, 0.3, **S)]),
    "colours_first": (FIRST, 1.0, lambda: [layer(**a, **S, data_format="channels_first") for layer, a in [
        (L.RandomContrast, dict(factor=0.5, value_range=(0, 1))), (L.RandomColorDegeneration, dict(factor=(0.2, 0.7))),
        (L.RandomHue, dict(factor=0.4, value_range=(0, 1))), (L.RandomSharpness, dict(factor=0.6, value_range=(0, 1))),
        (L.RandomErasing, dict(factor=(0.5, 1.0), scale=(0.2, 0.8), value_range=(0, 1))), (L.CutMix, dict(factor=(0.5, 0.9))),
        (L.RandomFlip, dict(mode="vertical")), (L.RandomRotation, dict(factor=(-0.2, 0.1)))]]),
    "warps": (SHAPE, 255.0, lambda: [
        L.RandomFlip("horizontal", **S), L.RandomFlip(**S), L.RandomRotation(0.3, fill_mode="wrap", **S),
        L.RandomRotation((0.1, 0.4), "constant", "nearest", fill_value=9.0, **S), L.RandomTranslation(0.9, (-0.2, 0.95), **S),
        L.RandomTranslation(0.5, 0.4, fill_mode="wrap", interpolation="nearest", **S), L.RandomZoom((0.3, 0.9), **S),
        L.RandomZoom(0.5, (-0.5, 0.5), "nearest", **S), L.RandomShear((0.0, 0.7), (0.1, 0.8), fill_mode="wrap", **S),
        L.RandomShear((0.2, 0.5), fill_mode="constant", fill_value=7.0, **S), L.RandomPerspective(1.0, 0.5, **S),
        L.RandomPerspective((0.3, 0.8), 1.0, interpolation="nearest", fill_value=9.0, **S)]),
    "elastic": ((24, 30, 1), 255.0, lambda: [
        L.RandomElasticTransform((0.5, 0.9), (0.5, 1.0), fill_mode=f, interpolation=i, fill_value=7.0, **S)
        for f, i in [("constant", "bilinear"), ("nearest", "nearest"), ("wrap", "bilinear"), ("reflect", "bilinear")]]),
    "mixed": (SHAPE, 255.0, lambda: [
        L.RandomErasing(0.9, **S), L.RandomErasing((0.5, 1.0), (0.2, 0.8), fill_value=(9, 8, 7), **S), L.MixUp(0.3, **S),
        L.MixUp(1.0, **S), L.MixUp(2.5, **S), L.CutMix(0.7, **S)]),
    "random_operations": (SHAPE, 255.0, lambda: [
        L.RandAugment((0, 255), 2, 0.5, **S), L.RandAugment((0, 255), 4, (0.2, 0.7), interpolation="nearest", **S)]),
    "histograms": (SHAPE, 255.0, lambda: [
        L.AutoContrast(), L.AutoContrast((20, 200)),
        L.ContrastLimitedAdaptiveHistogramEqualization(tile_grid_size=(2, 3)),
        L.ContrastLimitedAdaptiveHistogramEqualization((0, 300), 0.0, (3, 2))]),
    "histograms_first": (FIRST, 1.0, lambda: [layer(value_range=(0, 1), data_format="channels_first") for layer in [L.AutoContrast]]),
}

for _name, (_shape, _scale, _make) in FAMILIES.items():
    @case("more", f"augmentation_{_name}", n=9, batch=4, epochs=2, jax=False)
    def _(d, shape=_shape, scale=_scale, make=_make):
        m, parts = model(make, shape, scale)
        return m, d.f(*shape, lo=0, hi=scale), d.f(parts)


@case("more", "augmentation_crop", n=5, batch=2, jax=False)
def _(d):
    i = keras.Input((6, 7, 3))
    crops = [L.RandomCrop(4, 5, **S), L.RandomCrop(6, 5, **S), L.RandomCrop(9, 5, **S)]
    x = ops.concatenate([L.GlobalAveragePooling2D()(c(i)) for c in crops], axis=-1)
    m = keras.Model(i, L.Dense(1)(x))
    m.compile(O.SGD(0.01), "mse")
    return m, d.f(6, 7, 3), d.f(1)


@case("more", "augmentation_chains", n=3, batch=2, train=False, jax=False)
def _(d):
    i = keras.Input((6, 7, 3))
    return keras.Model(i, L.AugMix((0, 300), 2, 2, 0.4, 0.5, False, "nearest", seed=3)(i)), d.f(6, 7, 3, lo=0, hi=255), None


@case("more", "layers_wrapped", n=5, batch=2, epochs=1, jax=False)
def _(d):
    m = keras.Sequential([keras.Input((3, 4, 2)), L.AutoContrast((0, 300)), L.Pipeline([L.Rescaling(0.1), L.Dense(2, "tanh")]),
                          L.BatchNormalization(renorm=True, renorm_clipping={"rmax": 1.2, "rmin": 0.8, "dmax": 0.3},
                                               renorm_momentum=0.7, momentum=0.8, scale=False),
                          L.BatchNormalization(axis=1, renorm=True, synchronized=True), L.Flatten(), L.Dense(1)])
    m.compile(O.SGD(0.01), "mse")
    return m, d.f(3, 4, 2, lo=0, hi=255), d.f(1)
