"""The models that are measured, made with Keras. `python models.py NAME FILE` writes NAME's JSON to FILE."""
import sys


def mlp(keras):
    L = keras.layers
    m = keras.Sequential([L.Input((784,)), L.Dense(512, activation="relu"), L.Dense(512, activation="relu"), L.Dense(10)])
    return m, ((784,), "float32", None), ((), "int32", 10)


def cnn(keras):
    L = keras.layers
    m = keras.Sequential([
        L.Input((28, 28, 1)), L.Conv2D(32, 3, activation="relu"), L.Conv2D(64, 3, activation="relu"), L.MaxPooling2D(),
        L.Flatten(), L.Dense(128, activation="relu"), L.Dense(10)])
    return m, ((28, 28, 1), "float32", None), ((), "int32", 10)


MODELS = {"mlp": (mlp, 128), "cnn": (cnn, 128)}


def build(name, keras):
    """-> compiled model, (x shape, dtype, classes), (y shape, dtype, classes), batch size"""
    make, batch = MODELS[name]
    m, x, y = make(keras)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    m.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss)
    return m, x, y, batch


if __name__ == "__main__":
    import keras

    m, *_ = build(sys.argv[1], keras)
    open(sys.argv[2], "w").write(m.to_json())
