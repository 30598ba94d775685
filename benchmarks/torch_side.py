"""PyTorch by hand, four times: the models, and the loops that people write around them.

torch-dataloader   a DataLoader over a TensorDataset, the loop of every tutorial
torch-preloaded    all data as one tensor on the device, batches by a random permutation
torch-tuned        the same with images in the channels-last format and the fused optimizer
torch-compiled     the same as tuned, through torch.compile
Loss and accuracy are added up on the device and read once an epoch.
"""
import torch
import torch.nn.functional as F
from torch import nn

import tasks

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device(): return torch.cuda.get_device_name() if DEVICE.type == "cuda" else "cpu"


def synchronize():
    if DEVICE.type == "cuda": torch.cuda.synchronize()


# ---- models ----
def cnn():
    a, b, c = tasks.CNN_FILTERS
    return nn.Sequential(
        nn.BatchNorm2d(1), nn.Conv2d(1, a, 3, padding=1), nn.MaxPool2d(2), nn.BatchNorm2d(a), nn.ReLU(),
        nn.Conv2d(a, b, 3, padding=1), nn.MaxPool2d(2), nn.BatchNorm2d(b), nn.ReLU(),
        nn.Conv2d(b, c, 3, padding=1), nn.BatchNorm2d(c), nn.ReLU(),
        nn.Flatten(), nn.Linear(c * 7 * 7, tasks.CNN_FEATURES), nn.ReLU(), nn.Linear(tasks.CNN_FEATURES, tasks.CLASSES))


class Block(nn.Module):
    "x + attention(norm(x)), then x + feed_forward(norm(x))."
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(tasks.WIDTH), nn.LayerNorm(tasks.WIDTH)
        self.qkv, self.out = nn.Linear(tasks.WIDTH, 3 * tasks.WIDTH), nn.Linear(tasks.WIDTH, tasks.WIDTH)
        self.feed_forward = nn.Sequential(nn.Linear(tasks.WIDTH, tasks.FEED_FORWARD), nn.ReLU(), nn.Linear(tasks.FEED_FORWARD, tasks.WIDTH))

    def attention(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, tasks.HEADS, -1)).permute(2, 0, 3, 1, 4).unbind()
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.feed_forward(self.norm2(x))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.positions = nn.Embedding(tasks.VOCABULARY, tasks.WIDTH), nn.Parameter(0.02 * torch.randn(tasks.LENGTH, tasks.WIDTH))
        self.blocks = nn.Sequential(*(Block() for _ in range(tasks.BLOCKS)))
        self.norm, self.head = nn.LayerNorm(tasks.WIDTH), nn.Linear(tasks.WIDTH, tasks.CLASSES)

    def forward(self, tokens):
        return self.head(self.norm(self.blocks(self.embedding(tokens) + self.positions)).mean(1))


def resnet18():
    from torchvision.models import resnet18
    return resnet18(num_classes=tasks.CLASSES)


def deep(layers):
    stack = [layer for _ in range(layers) for layer in (nn.Linear(tasks.DEEP_FEATURES, tasks.DEEP_FEATURES), nn.ReLU())]
    return nn.Sequential(*stack, nn.Linear(tasks.DEEP_FEATURES, tasks.CLASSES))


def make_model(task):
    "The model of a task, on the CPU."
    if task.kind == "deep": return deep(task.layers)
    if task.kind == "many": return nn.Linear(tasks.DEEP_FEATURES, tasks.CLASSES)
    if task.kind == "mlp": return nn.Sequential(nn.Linear(28 * 28, 64), nn.ReLU(), nn.Linear(64, tasks.CLASSES))
    return {"cnn": cnn, "resnet18": resnet18, "transformer": Transformer}[task.kind]()


# ---- data ----
def as_tensors(inputs, labels):
    "PyTorch's layout: images as (samples, channels, height, width)."
    inputs = torch.from_numpy(inputs)
    return (inputs.permute(0, 3, 1, 2).contiguous() if inputs.ndim == 4 else inputs), torch.from_numpy(labels)


def make_loader(task, inputs, labels):
    "What people write; on a GPU with pinned memory."
    data = torch.utils.data.TensorDataset(*as_tensors(inputs, labels))
    return torch.utils.data.DataLoader(data, batch_size=task.batch_size, shuffle=True, drop_last=True, pin_memory=DEVICE.type == "cuda")


def loader_batches(task, inputs, labels):
    loader = make_loader(task, inputs, labels)
    return lambda: ((x.to(DEVICE, non_blocking=True), y.to(DEVICE, non_blocking=True)) for x, y in loader)


def preloaded_batches(task, inputs, labels, channels_last):
    "A function that gives the batches of an epoch, gathered from tensors on the device."
    x, y = (tensor.to(DEVICE) for tensor in as_tensors(inputs, labels))
    if channels_last and x.ndim == 4: x = x.permute(0, 2, 3, 1).contiguous()  # gathered rows are then channels last as they are
    restored = (lambda batch: batch.permute(0, 3, 1, 2)) if channels_last and x.ndim == 4 else (lambda batch: batch)
    def batches():
        for rows in torch.randperm(len(y), device=DEVICE).split(task.batch_size): yield restored(x[rows]), y[rows]
    return batches


# ---- the loop ----
def train(model, optimizer, batches, epochs, clock):
    "The loop of the tutorials, but that nothing in it waits for the device."
    model.train()
    for _ in range(epochs):
        clock.start()
        total_loss, total_right, count = torch.zeros((), device=DEVICE), torch.zeros((), device=DEVICE), 0
        for x, y in batches():
            optimizer.zero_grad()
            logits = model(x)
            loss = F.cross_entropy(logits, y)
            loss.backward()
            optimizer.step()
            total_loss += loss.detach()
            total_right += (logits.detach().argmax(1) == y).float().mean()
            count += 1
        loss, accuracy = total_loss.item() / count, total_right.item() / count
        clock.stop()
    return loss, accuracy


def run(name, task, inputs, labels, clock):
    torch.manual_seed(0)
    clock.synchronize = synchronize
    tuned, model = name in ("torch-tuned", "torch-compiled"), make_model(task).to(DEVICE)
    if tuned: model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=tasks.LEARNING_RATE, momentum=tasks.MOMENTUM, nesterov=True, fused=tuned or None)
    batches = loader_batches(task, inputs, labels) if name == "torch-dataloader" else preloaded_batches(task, inputs, labels, tuned)
    if name == "torch-compiled": model = torch.compile(model)
    return train(model, optimizer, batches, task.epochs + 1, clock)
