"""The models that are measured, made with Keras. `python models.py NAME FILE` writes NAME's JSON to FILE."""
import sys


def mlp(keras):
    L = keras.layers
    m = keras.Sequential([L.Input((784,)), L.Dense(512, activation="relu"), L.Dense(512, activation="relu"), L.Dense(10)])
    return m, ((784,), "float32", None), ((), "int32", 10)


def cnn(keras):
    L = keras.layers
    m = keras.Sequential([
        L.Input((28, 28, 1)), L.Conv2D(32, 3, activation="relu"), L.MaxPooling2D(), L.Conv2D(64, 3, activation="relu"),
        L.MaxPooling2D(), L.Flatten(), L.Dense(128, activation="relu"), L.Dense(10)])
    return m, ((28, 28, 1), "float32", None), ((), "int32", 10)


def lstm(keras):
    L = keras.layers
    m = keras.Sequential([L.Input((80,), dtype="int32"), L.Embedding(20000, 128), L.LSTM(128), L.Dense(2)])
    return m, ((80,), "int32", 20000), ((), "int32", 2)


def gru(keras):
    L = keras.layers
    m = keras.Sequential([L.Input((80,), dtype="int32"), L.Embedding(20000, 128, mask_zero=True), L.GRU(128), L.Dense(2)])
    return m, ((80,), "int32", 20000), ((), "int32", 2)


def attention_block(keras, x, width, heads, causal):
    L = keras.layers
    h = L.LayerNormalization(epsilon=1e-5)(x)
    h = L.MultiHeadAttention(heads, width // heads)(h, h, use_causal_mask=causal)
    x = L.Add()([x, h])
    h = L.LayerNormalization(epsilon=1e-5)(x)
    h = L.Dense(4 * width, activation="gelu")(h)
    return L.Add()([x, L.Dense(width)(h)])


def transformer(keras):
    L, steps, width, words = keras.layers, 128, 256, 8192
    tokens = L.Input((steps,), dtype="int32")
    places = keras.ops.arange(0, steps, dtype="int32")
    x = L.Add()([L.Embedding(words, width)(tokens), L.Embedding(steps, width)(keras.ops.add(places[None], 0 * tokens))])
    for _ in range(4):
        x = attention_block(keras, x, width, 4, True)
    y = L.Dense(words)(L.LayerNormalization(epsilon=1e-5)(x))
    return keras.Model(tokens, y), ((steps,), "int32", words), ((steps,), "int32", words)


def attention(keras):
    """A long context: two causal blocks of 4 heads over 4096 steps."""
    L, steps, width = keras.layers, 4096, 256
    x = given = L.Input((steps, 64))
    x = L.Dense(width)(x)
    for _ in range(2):
        x = attention_block(keras, x, width, 4, True)
    return keras.Model(given, L.Dense(16)(x)), ((steps, 64), "float32", None), ((steps,), "int32", 16)


def vit(keras):
    """ViT-tiny: patches of 16, width 192, 12 blocks of 3 heads."""
    L, width = keras.layers, 192
    image = L.Input((224, 224, 3))
    x = L.Reshape((196, width))(L.Conv2D(width, 16, 16)(image))
    places = keras.ops.arange(0, 196, dtype="int32")
    x = L.Add()([x, L.Embedding(196, width)(keras.ops.add(places[None], 0 * keras.ops.cast(x[:, :, 0], "int32")))])
    for _ in range(12):
        x = attention_block(keras, x, width, 3, False)
    x = L.GlobalAveragePooling1D()(L.LayerNormalization(epsilon=1e-5)(x))
    return keras.Model(image, L.Dense(1000)(x)), ((224, 224, 3), "float32", None), ((), "int32", 1000)


def unet(keras):
    L = keras.layers
    x = image = L.Input((128, 128, 3))
    skips = []

    def two(x, n):
        for _ in range(2):
            x = L.Conv2D(n, 3, padding="same", activation="relu")(x)
        return x

    for n in (32, 64, 128):
        x = two(x, n)
        skips.append(x)
        x = L.MaxPooling2D()(x)
    x = two(x, 256)
    for n in (128, 64, 32):
        x = L.Conv2DTranspose(n, 2, 2)(x)
        x = two(L.Concatenate()([x, skips.pop()]), n)
    return keras.Model(image, L.Conv2D(4, 1)(x)), ((128, 128, 3), "float32", None), ((128, 128), "int32", 4)


def application(name):
    def make(keras):
        m = getattr(keras.applications, name)(weights=None, classifier_activation=None)
        return m, ((224, 224, 3), "float32", None), ((), "int32", 1000)
    return make


# name: (function, batch size)
MODELS = {
    "mlp": (mlp, 128), "cnn": (cnn, 128), "lstm": (lstm, 64), "transformer": (transformer, 16),
    "resnet50": (application("ResNet50"), 16), "mobilenetv2": (application("MobileNetV2"), 16),
    "unet": (unet, 8), "gru": (gru, 64), "mlp1": (mlp, 1), "vit": (vit, 8),
    "attention": (attention, 1),
}


def build(name, keras, jit="auto"):
    """-> compiled model, (x shape, dtype, classes), (y shape, dtype, classes), batch size"""
    make, batch = MODELS[name]
    m, x, y = make(keras)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    m.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss, jit_compile=jit)
    return m, x, y, batch


if __name__ == "__main__":
    import keras

    for name in sys.argv[1].split(","):
        m, *_ = build(name, keras)
        open(sys.argv[2].replace("NAME", name), "w").write(m.to_json())
