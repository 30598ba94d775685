"""fastai as its guide has it: DataLoaders, a Learner with accuracy, SaveModelCallback.

The batches come from PyTorch's DataLoader, which was faster inside of fastai's DataLoaders than fastai's own.
fastai reports metrics on validation data only; `train_metrics` makes its Recorder report them on the training data as well.
SaveModelCallback needs a validation set: one batch, outside of the time that counts.
"""
from functools import partial

import fastai.callback.progress  # gives every Learner its progress bar
import torch
from fastai.basics import CrossEntropyLossFlat, Callback, DataLoaders, Learner, OptimWrapper, accuracy
from fastai.callback.tracker import SaveModelCallback

import tasks
from torch_side import DEVICE, device, make_loader, make_model, synchronize


class Timer(Callback):
    "The last of the callbacks where training ends, so that the Recorder's means count."
    order = 99
    def __init__(self, clock): self.clock = clock
    def before_train(self): self.clock.start()
    def after_train(self): self.clock.stop()


def make_data(task, inputs, labels):
    one = slice(task.batch_size)
    return DataLoaders(make_loader(task, inputs, labels), make_loader(task, inputs[one], labels[one]), device=DEVICE)


def run(name, task, inputs, labels, clock):
    torch.manual_seed(0)
    clock.synchronize = synchronize
    sgd = partial(OptimWrapper, opt=torch.optim.SGD, momentum=tasks.MOMENTUM, nesterov=True)
    learner = Learner(make_data(task, inputs, labels), make_model(task), loss_func=CrossEntropyLossFlat(), opt_func=sgd, lr=tasks.LEARNING_RATE, metrics=accuracy, path=".")
    learner.recorder.train_metrics = True
    learner.fit(task.epochs + 1, cbs=[SaveModelCallback(), Timer(clock)])
    names, values = learner.recorder.metric_names[1:], learner.recorder.values[-1]
    return (dict(zip(names, values))[key] for key in ("train_loss", "train_accuracy"))
