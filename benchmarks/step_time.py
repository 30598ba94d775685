"""A training step of babilim beside the hand-written loop, in turn, in one run.

python benchmarks/step_time.py --backend pytorch     (torch DataLoader and a plain loop)
python benchmarks/step_time.py --backend tf2         (tf.data and a tf.function step)

Both train the tutorial's network with batch size 32 and SGD with Nesterov momentum, and report loss and accuracy.
babilim runs the whole `fit`, with the callbacks for log, checkpoints, TensorBoard and learning rate.
"""
import argparse
import os
import statistics
import tempfile
import time

import numpy as np

import babilim
from babilim.core import logging
from babilim.data.image_grid import image_grid_wrap
from babilim.fashion_mnist.config import FashionMNISTConfig
from babilim.fashion_mnist.dataset import FashionMNISTDataset
from babilim.fashion_mnist.trainer import make_trainer
from babilim.training.callbacks import BaseCallback

config = FashionMNISTConfig()
config.problem_sample = True


class Clock(BaseCallback):
    "Times the training steps of an epoch, from one to the next."
    def on_epoch_start(self): self.times = []
    def on_step_end(self): self.times.append(time.perf_counter())


def median_step(times): return 1000 * statistics.median(np.diff(times)), 1000 * (times[-1] - times[0]) / (len(times) - 1)


def babilim_epoch():
    "(median, mean) milliseconds a step, over one epoch of `fit`."
    if logging.get_log_dir() is None: logging.set_logger(os.path.join(tempfile.mkdtemp(), "log.txt"))
    trainer, clock = make_trainer(config), Clock()
    trainer.callbacks.append(clock)
    trainer.fit(FashionMNISTDataset(config, "train").to_dataloader(), epochs=1)
    return median_step(clock.times[5:])


def torch_epoch():
    import torch
    from torch import nn
    data = FashionMNISTDataset(config, "train")

    class Images(torch.utils.data.Dataset):
        def __len__(self): return len(data.labels)
        def __getitem__(self, i): return torch.from_numpy(data.images[i]).unsqueeze(0).float() / 255, int(data.labels[i])

    a, b, c = config.model_filters
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, a, 3, padding=1), nn.MaxPool2d(2), nn.BatchNorm2d(a), nn.ReLU(),
                          nn.Conv2d(a, b, 3, padding=1), nn.MaxPool2d(2), nn.BatchNorm2d(b), nn.ReLU(),
                          nn.Conv2d(b, c, 3, padding=1), nn.BatchNorm2d(c), nn.ReLU(),
                          nn.Flatten(), nn.Linear(c * 49, config.model_features), nn.ReLU(), nn.Linear(config.model_features, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=config.train_initial_lr, momentum=config.train_momentum, nesterov=True)
    times, total, right = [], 0.0, 0.0
    for x, y in torch.utils.data.DataLoader(Images(), batch_size=config.train_batch_size, shuffle=True):
        optimizer.zero_grad()
        logits = model(x)
        loss = nn.functional.cross_entropy(logits, y)
        loss.backward()
        optimizer.step()
        total += loss.item()
        right += (logits.argmax(1) == y).float().mean().item()
        times.append(time.perf_counter())
    return median_step(times[5:])


def tf_epoch():
    import tensorflow as tf
    import keras
    data = FashionMNISTDataset(config, "train")
    layers, (a, b, c) = keras.layers, config.model_filters
    norm = lambda: layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    model = keras.Sequential([norm(), layers.Conv2D(a, 3, padding="same"), layers.MaxPooling2D(), norm(), layers.ReLU(),
                              layers.Conv2D(b, 3, padding="same"), layers.MaxPooling2D(), norm(), layers.ReLU(),
                              layers.Conv2D(c, 3, padding="same"), norm(), layers.ReLU(),
                              layers.Flatten(), layers.Dense(config.model_features), layers.ReLU(), layers.Dense(10)])
    model(np.zeros((1, 28, 28, 1), np.float32))
    variables = [v.value for v in model.trainable_variables]
    momenta = [tf.Variable(tf.zeros_like(v)) for v in variables]

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            logits = model(x, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
        for v, m, g in zip(variables, momenta, tape.gradient(loss, variables)):
            m.assign(config.train_momentum * m + g)
            v.assign_sub(config.train_initial_lr * (g + config.train_momentum * m))
        return loss, tf.reduce_mean(tf.cast(tf.argmax(logits, 1) == y, tf.float32))

    batches = tf.data.Dataset.from_tensor_slices((data.images, data.labels)).shuffle(len(data.labels)).map(
        lambda x, y: (tf.cast(x, tf.float32)[..., None] / 255, tf.cast(y, tf.int64)), num_parallel_calls=tf.data.AUTOTUNE)
    times = []
    for x, y in batches.batch(config.train_batch_size).prefetch(tf.data.AUTOTUNE):
        loss, accuracy = step(x, y)
        float(loss), float(accuracy)
        times.append(time.perf_counter())
    return median_step(times[5:])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=("pytorch", "tf2"), default="pytorch")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    babilim.set_backend(args.backend)
    by_hand = torch_epoch if args.backend == "pytorch" else tf_epoch
    found = {"babilim": [], "by hand": []}
    for _ in range(args.rounds):
        found["by hand"].append(by_hand())
        found["babilim"].append(babilim_epoch())
    for kind, index in (("median", 0), ("mean", 1)):
        mine, theirs = (statistics.median(r[index] for r in found[name]) for name in ("babilim", "by hand"))
        print(f"{args.backend}, {kind} step, median of {args.rounds} rounds: babilim {mine:.2f} ms, by hand {theirs:.2f} ms, ratio {mine / theirs:.2f}")


if __name__ == "__main__": main()
