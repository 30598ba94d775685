"""Keras 3 as its guides have it: compile and fit, with the callbacks that people use.

keras-pytorch, keras-tf2   the same code on the engine that KERAS_BACKEND names, with Keras' own choices
keras-tf2-tuned            the two arguments of `compile` that made it faster here: no XLA, and several steps a graph call
Data goes in as NumPy arrays, which Keras gathers by batch. Images are channels last, Keras' default; on PyTorch, where its guides
advise channels first, that was no faster.
"""
import keras
from keras import layers

import tasks



def device():
    if keras.backend.backend() == "torch": from torch_side import device
    else: from tf_side import device
    return device()


# ---- models ----
def norm(): return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)


def cnn():
    a, b, c = tasks.CNN_FILTERS
    conv = lambda filters: layers.Conv2D(filters, 3, padding="same")
    return keras.Sequential([keras.Input((28, 28, 1)), norm(), conv(a), layers.MaxPooling2D(), norm(), layers.ReLU(),
                             conv(b), layers.MaxPooling2D(), norm(), layers.ReLU(), conv(c), norm(), layers.ReLU(),
                             layers.Flatten(), layers.Dense(tasks.CNN_FEATURES), layers.ReLU(), layers.Dense(tasks.CLASSES)])


def conv_norm(x, filters, size, stride):
    "A convolution padded as PyTorch does, and its batch normalisation."
    if stride > 1 and size > 1: x = layers.ZeroPadding2D(size // 2)(x)
    return norm()(layers.Conv2D(filters, size, stride, padding="valid" if stride > 1 else "same", use_bias=False)(x))


def residual(x, filters, stride):
    y = layers.ReLU()(conv_norm(x, filters, 3, stride))
    y = conv_norm(y, filters, 3, 1)
    if stride > 1: x = conv_norm(x, filters, 1, stride)
    return layers.ReLU()(x + y)


def resnet18():
    inputs = keras.Input((64, 64, 3))
    x = layers.ReLU()(conv_norm(inputs, 64, 7, 2))
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    for filters in (64, 128, 256, 512):
        x = residual(x, filters, 1 if filters == 64 else 2)
        x = residual(x, filters, 1)
    return keras.Model(inputs, layers.Dense(tasks.CLASSES)(layers.GlobalAveragePooling2D()(x)))


class Positions(layers.Layer):
    "Adds a learned vector to each position."
    def build(self, shape):
        self.positions = self.add_weight(shape=(tasks.LENGTH, tasks.WIDTH), initializer=keras.initializers.RandomNormal(stddev=0.02))

    def call(self, x): return x + self.positions


def transformer():
    inputs, norm = keras.Input((tasks.LENGTH,), dtype="int64"), lambda: layers.LayerNormalization(epsilon=1e-5)
    x = Positions()(layers.Embedding(tasks.VOCABULARY, tasks.WIDTH)(inputs))
    for _ in range(tasks.BLOCKS):
        y = norm()(x)
        x = x + layers.MultiHeadAttention(tasks.HEADS, tasks.WIDTH // tasks.HEADS)(y, y)
        x = x + layers.Dense(tasks.WIDTH)(layers.Dense(tasks.FEED_FORWARD, activation="relu")(norm()(x)))
    return keras.Model(inputs, layers.Dense(tasks.CLASSES)(layers.GlobalAveragePooling1D()(norm()(x))))


def deep(count):
    return keras.Sequential([keras.Input((tasks.DEEP_FEATURES,)), *(layers.Dense(tasks.DEEP_FEATURES, activation="relu") for _ in range(count)), layers.Dense(tasks.CLASSES)])


def make_model(task):
    if task.kind == "deep": return deep(task.layers)
    if task.kind == "many": return deep(0)
    if task.kind == "mlp": return keras.Sequential([keras.Input((28 * 28,)), layers.Dense(64, activation="relu"), layers.Dense(tasks.CLASSES)])
    return {"cnn": cnn, "resnet18": resnet18, "transformer": transformer}[task.kind]()


# ---- training ----
class Timer(keras.callbacks.Callback):
    "First of the callbacks, so that what the others do at an epoch's end is not part of the training steps."
    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def on_epoch_begin(self, epoch, logs=None): self.clock.start()
    def on_epoch_end(self, epoch, logs=None): self.clock.stop()


def run(name, task, inputs, labels, clock):
    keras.utils.set_random_seed(0)
    tuning = {"jit_compile": False, "steps_per_execution": min(20, task.batches)} if name == "keras-tf2-tuned" else {}
    model = make_model(task)
    model.compile(optimizer=keras.optimizers.SGD(tasks.LEARNING_RATE, momentum=tasks.MOMENTUM, nesterov=True),
                  loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"], **tuning)
    callbacks = [Timer(clock), keras.callbacks.ModelCheckpoint("keras.weights.h5", save_weights_only=True), keras.callbacks.TensorBoard("logs")]
    history = model.fit(inputs, labels, batch_size=task.batch_size, epochs=task.epochs + 1, callbacks=callbacks)
    return history.history["loss"][-1], history.history["accuracy"][-1]
