"""Lightning as its guide has it: a LightningModule that logs loss and accuracy, a Trainer with checkpoints, TensorBoard and progress bar.

The bar is tqdm's: the one that Lightning draws where the package rich is installed was slower.
"""
import lightning
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

import tasks
from torch_side import DEVICE, device, make_loader, make_model, synchronize


class Classifier(lightning.LightningModule):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def training_step(self, batch, batch_index):
        x, y = batch
        logits = self.model(x)
        loss, accuracy = F.cross_entropy(logits, y), (logits.argmax(1) == y).float().mean()
        self.log_dict({"loss": loss, "accuracy": accuracy}, on_epoch=True, batch_size=len(y))
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=tasks.LEARNING_RATE, momentum=tasks.MOMENTUM, nesterov=True)


class Timer(Callback):
    "Lightning calls ModelCheckpoint after all other callbacks, so its work is not part of the training steps."
    def __init__(self, clock): self.clock = clock
    def on_train_epoch_start(self, trainer, module): self.clock.start()
    def on_train_epoch_end(self, trainer, module): self.clock.stop()


def run(name, task, inputs, labels, clock):
    lightning.seed_everything(0)
    clock.synchronize = synchronize
    trainer = lightning.Trainer(max_epochs=task.epochs + 1, accelerator="gpu" if DEVICE.type == "cuda" else "cpu", devices=1,
                                callbacks=[Timer(clock), ModelCheckpoint(), TQDMProgressBar()], logger=TensorBoardLogger("logs"))
    trainer.fit(Classifier(make_model(task)), make_loader(task, inputs, labels))
    return trainer.callback_metrics["loss_epoch"], trainer.callback_metrics["accuracy_epoch"]
