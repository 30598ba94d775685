"""What is trained: the data and sizes of each task, the same NumPy arrays for every contender.

cnn32, cnn256   the tutorial's convolutional network, batch size 32 and 256
resnet18        ResNet-18 on 64 x 64 images, batch size 32
transformer     two pre-norm blocks on sequences of 128, batch size 32
mlp             784 -> 64 -> 10, batch size 32: little to compute, so it shows what a step costs besides
deep10 ...      a stack of so many dense layers with 16 features: how a step grows with the number of layers
many1000 ...    so many samples of 16 features, one dense layer: how an epoch grows with the number of samples
"""
import os
from dataclasses import dataclass, replace

import numpy as np

LEARNING_RATE, MOMENTUM = 0.01, 0.95  # SGD with Nesterov's momentum, everywhere
SAMPLE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "babilim", "fashion_mnist", "sample.npz")

CNN_FILTERS, CNN_FEATURES, CLASSES = (16, 24, 24), 18, 10
VOCABULARY, LENGTH, WIDTH, HEADS, FEED_FORWARD, BLOCKS = 1000, 128, 128, 4, 512, 2
DEEP_FEATURES = 16


@dataclass(frozen=True)
class Task:
    "What is trained, on how much, for how long."
    name: str
    kind: str        # the model: cnn, resnet18, transformer, mlp, deep or many
    batch_size: int
    batches: int     # in an epoch; all of them are full
    epochs: int = 3  # that are timed, after one that is not
    layers: int = 1  # of a deep one

    @property
    def samples(self): return self.batch_size * self.batches


NAMED = {task.name: task for task in (
    Task("cnn32", "cnn", 32, 200), Task("cnn256", "cnn", 256, 40), Task("resnet18", "resnet18", 32, 16),
    Task("transformer", "transformer", 32, 25), Task("mlp", "mlp", 32, 400))}
SCALE_BATCH = 256


def find(name):
    "The task of a name, also deep<layers> and many<samples>."
    if name.startswith("deep"): return Task(name, "deep", 32, 50, layers=int(name[4:]))
    if name.startswith("many"): return Task(name, "many", SCALE_BATCH, int(name[4:]) // SCALE_BATCH)
    return NAMED[name]


def resized(task, batches, epochs):
    "The task with other numbers of batches and timed epochs, where they are given."
    return replace(task, batches=task.batches if batches is None else batches, epochs=task.epochs if epochs is None else epochs)


def clothing(count):
    "Fashion-MNIST images (count, 28, 28, 1) from 0 to 1, and labels; the shipped sample, repeated."
    with np.load(SAMPLE) as sample: images, labels = sample["train_images"], sample["train_labels"]
    rows = np.arange(count) % len(labels)
    return images[rows, :, :, None].astype(np.float32) / 255, labels[rows].astype(np.int64)


def load(task):
    "Inputs and labels: images are (samples, height, width, channels)."
    generator = np.random.default_rng(0)
    labels = generator.integers(0, CLASSES, task.samples)
    if task.kind == "resnet18": return generator.random((task.samples, 64, 64, 3), np.float32), labels
    if task.kind == "transformer": return generator.integers(0, VOCABULARY, (task.samples, LENGTH)), labels
    if task.kind in ("deep", "many"): return generator.random((task.samples, DEEP_FEATURES), np.float32), labels
    images, labels = clothing(task.samples)
    return (images.reshape(task.samples, -1) if task.kind == "mlp" else images), labels
