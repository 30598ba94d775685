"""babilim: the whole `fit` with its four default callbacks, from a Dataset of single samples, the same code on both backends."""
import os
from collections import namedtuple

import numpy as np

import babilim

babilim.set_backend(os.environ["BABILIM_BACKEND"])

from babilim.core import Config, Module, logging
from babilim.core.backend import engine
from babilim.core.random import uniform
from babilim.data import Dataset, image_grid_wrap
from babilim.fashion_mnist.config import FashionMNISTConfig
from babilim.fashion_mnist.model import FashionMNISTModel
from babilim.fashion_mnist.trainer import FashionMNISTLoss
from babilim.model.layers.activation import Activation
from babilim.model.layers.batch_normalization import BatchNormalization
from babilim.model.layers.convolution import Conv2D
from babilim.model.layers.fully_connected import FullyConnected
from babilim.model.layers.pooling import GlobalAveragePooling2D, MaxPooling2D
from babilim.model.sequential import Sequential
from babilim.training.callbacks import BaseCallback, CheckpointCallback, LearningRateUpdateCallback, LogCallback, TensorboardCallback
from babilim.training.optimizers import SGD, learning_rates
from babilim.training.supervised import SupervisedTrainer

import tasks

Input, Output = namedtuple("Input", ["image"]), namedtuple("Output", ["class_id"])


def device():
    if babilim.is_backend("pytorch"): from torch_side import device
    else: from tf_side import device
    return device()


# ---- models ----
class Classifier(Module):
    "A stack of layers as a model for the tutorial's loss."
    def __init__(self, *layers):
        super().__init__()
        self.layers = Sequential(*layers)

    def call(self, image): return Output(class_id=self.layers(image))


class Residual(Module):
    "Two convolutions and a way around them."
    def __init__(self, filters, stride):
        super().__init__()
        self.body = Sequential(conv(filters, 3, stride), BatchNormalization(), Activation("relu"), conv(filters, 3), BatchNormalization())
        self.short = Sequential(conv(filters, 1, stride), BatchNormalization()) if stride > 1 else Activation(None)
        self.relu = Activation("relu")

    def call(self, x): return self.relu(self.body(x) + self.short(x))


def conv(filters, size, stride=1):
    return Conv2D(filters=filters, kernel_size=size, strides=stride, padding=size // 2, use_bias=False)


def resnet18():
    blocks = [Residual(filters, stride) for filters in (64, 128, 256, 512) for stride in (1 if filters == 64 else 2, 1)]
    return Classifier(conv(64, 7, 2), BatchNormalization(), Activation("relu"), MaxPooling2D(3, 2, padding=1), *blocks,
                      GlobalAveragePooling2D(), FullyConnected(out_features=tasks.CLASSES))


class Around(Module):
    "x + layers(x)."
    def __init__(self, *layers):
        super().__init__()
        self.layers = Sequential(*layers)

    def call(self, x): return x + self.layers(x)


class Positions(Module):
    "Adds a learned vector to each position."
    def build(self, x): self.create_variable("positions", x.shape[1:], uniform(0.02))
    def call(self, x): return x + self.positions


class Mean(Module):
    "Over all positions."
    def call(self, x): return x.mean(axis=1)


def transformer():
    from babilim.model.layers.attention import MultiHeadAttention
    from babilim.model.layers.embedding import Embedding
    from babilim.model.layers.layer_normalization import LayerNormalization
    def block(): return (Around(LayerNormalization(), MultiHeadAttention(heads=tasks.HEADS)),
                         Around(LayerNormalization(), FullyConnected(out_features=tasks.FEED_FORWARD), Activation("relu"), FullyConnected(out_features=tasks.WIDTH)))
    return Classifier(Embedding(tasks.VOCABULARY, tasks.WIDTH), Positions(), *(layer for _ in range(tasks.BLOCKS) for layer in block()),
                      LayerNormalization(), Mean(), FullyConnected(out_features=tasks.CLASSES))


def dense(*sizes):
    "Dense layers with relu between them."
    return Classifier(*(layer for size in sizes for layer in (FullyConnected(out_features=size), Activation("relu"))), FullyConnected(out_features=tasks.CLASSES))


def make_model(task):
    if task.kind == "deep": return dense(*[tasks.DEEP_FEATURES] * task.layers)
    if task.kind == "many": return dense()
    if task.kind == "mlp": return dense(64)
    return {"cnn": lambda: FashionMNISTModel(FashionMNISTConfig()), "resnet18": resnet18, "transformer": transformer}[task.kind]()


# ---- data and training ----
class Samples(Dataset):
    "One sample a token, as every babilim dataset."
    def __init__(self, config, inputs, labels):
        super().__init__(config, Input, Output)
        self.inputs, self.labels, self.all_sample_tokens = inputs, labels, range(len(labels))

    def get_image(self, sample_token):
        value = self.inputs[sample_token]
        return image_grid_wrap(value) if value.ndim == 3 else value

    def get_class_id(self, sample_token): return self.labels[sample_token]

    def _get_version(self): return "1"


class Timer(BaseCallback):
    "First of the callbacks, so that the checkpoint at an epoch's end is not part of the training steps."
    def __init__(self, clock): self.clock = clock
    def on_epoch_start(self): self.clock.start()
    def on_train_end(self, metrics): self.clock.stop()


def make_config(task):
    config = Config()
    config.train_batch_size = task.batch_size
    return config


def run(name, task, inputs, labels, clock):
    return fit(task, Samples(make_config(task), inputs, labels), clock)


def fit(task, samples, clock): # loss and accuracy of the last epoch
    clock.synchronize = engine().synchronize
    logging.set_logger(os.path.abspath(os.path.join("logs", "log.txt")))
    trainer = SupervisedTrainer(
        model=make_model(task), loss=FashionMNISTLoss(), optimizer=SGD(initial_lr=tasks.LEARNING_RATE, momentum=tasks.MOMENTUM),
        callbacks=[Timer(clock), LogCallback(), CheckpointCallback(), TensorboardCallback(), LearningRateUpdateCallback(learning_rates.Exponential(tasks.LEARNING_RATE, k=0.0001))])
    history = trainer.fit(samples.to_dataloader(), epochs=task.epochs + 1)
    return history[-1]["train"]["loss/total"], history[-1]["train"]["metrics/ca"]
