"""TensorFlow by hand, twice: the models in raw operations, and the loops that people write around them.

tf-data    a tf.data pipeline and one `tf.function` a step
tf-epoch   all data as one tensor on the device, and the whole epoch as one `tf.function`
Both use the fused kernels of batch normalisation and momentum. Loss and accuracy are added up in variables and read once an epoch.
"""
import math

import tensorflow as tf

import tasks


def device():
    gpus = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "gpu") if gpus else "cpu"


# ---- layers: each function creates variables and returns a function of tensors ----
class Layers:
    def __init__(self): self.variables = []

    def weight(self, shape, bound):
        self.variables.append(tf.Variable(tf.random.uniform(shape, -bound, bound)))
        return self.variables[-1]

    def constant(self, size, value):
        self.variables.append(tf.Variable(tf.fill([size], value)))
        return self.variables[-1]

    def dense(self, inputs, outputs):
        bound = 1 / math.sqrt(inputs)
        w, b = self.weight((inputs, outputs), bound), self.weight((outputs,), bound)
        def call(x):
            y = tf.nn.bias_add(tf.reshape(x, (-1, inputs)) @ w, b)
            return y if x.shape.rank == 2 else tf.reshape(y, (*x.shape[:-1], outputs))
        return call

    def conv(self, inputs, outputs, size=3, stride=1, bias=True):
        bound = 1 / math.sqrt(inputs * size * size)
        w, b = self.weight((size, size, inputs, outputs), bound), self.weight((outputs,), bound) if bias else None
        edge = [size // 2, size // 2]
        padding = "SAME" if stride == 1 else [[0, 0], edge, edge, [0, 0]]  # PyTorch's, which is symmetric
        def call(x):
            y = tf.nn.conv2d(x, w, stride, padding)
            return tf.nn.bias_add(y, b) if bias else y
        return call

    def batch_norm(self, channels):
        scale, offset = self.constant(channels, 1.0), self.constant(channels, 0.0)
        mean, variance = tf.Variable(tf.zeros(channels)), tf.Variable(tf.ones(channels))
        def call(x):
            y, m, v = tf.compat.v1.nn.fused_batch_norm(x, scale, offset, epsilon=1e-5, is_training=True)
            mean.assign_sub(0.1 * (mean - m))
            variance.assign_sub(0.1 * (variance - v))
            return y
        return call

    def layer_norm(self):
        scale, offset = self.constant(tasks.WIDTH, 1.0), self.constant(tasks.WIDTH, 0.0)
        def call(x):
            mean = tf.reduce_mean(x, -1, keepdims=True)
            centred = x - mean
            variance = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
            return centred * tf.math.rsqrt(variance + 1e-5) * scale + offset
        return call


def chain(*functions):
    def call(x):
        for function in functions: x = function(x)
        return x
    return call


# ---- models ----
def cnn(new):
    a, b, c = tasks.CNN_FILTERS
    pool = lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID")
    flatten = lambda x: tf.reshape(x, (-1, c * 7 * 7))
    return chain(new.batch_norm(1), new.conv(1, a), pool, new.batch_norm(a), tf.nn.relu, new.conv(a, b), pool, new.batch_norm(b), tf.nn.relu,
                 new.conv(b, c), new.batch_norm(c), tf.nn.relu, flatten, new.dense(c * 7 * 7, tasks.CNN_FEATURES), tf.nn.relu, new.dense(tasks.CNN_FEATURES, tasks.CLASSES))


def residual(new, inputs, outputs, stride):
    body = chain(new.conv(inputs, outputs, 3, stride, bias=False), new.batch_norm(outputs), tf.nn.relu, new.conv(outputs, outputs, bias=False), new.batch_norm(outputs))
    short = (lambda x: x) if stride == 1 and inputs == outputs else chain(new.conv(inputs, outputs, 1, stride, bias=False), new.batch_norm(outputs))
    return lambda x: tf.nn.relu(body(x) + short(x))


def resnet18(new):
    stem = chain(new.conv(3, 64, 7, 2, bias=False), new.batch_norm(64), tf.nn.relu, lambda x: tf.nn.max_pool2d(x, 3, 2, [[0, 0], [1, 1], [1, 1], [0, 0]]))
    blocks = [block for inputs, outputs, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2))
              for block in (residual(new, inputs, outputs, stride), residual(new, outputs, outputs, 1))]
    return chain(stem, *blocks, lambda x: tf.reduce_mean(x, (1, 2)), new.dense(512, tasks.CLASSES))


def attention(new):
    qkv, out, size = new.dense(tasks.WIDTH, 3 * tasks.WIDTH), new.dense(tasks.WIDTH, tasks.WIDTH), tasks.WIDTH // tasks.HEADS
    def call(x):
        q, k, v = tf.unstack(tf.transpose(tf.reshape(qkv(x), (-1, tasks.LENGTH, 3, tasks.HEADS, size)), (2, 0, 3, 1, 4)))
        weights = tf.nn.softmax(tf.matmul(q * size ** -0.5, k, transpose_b=True))
        return out(tf.reshape(tf.transpose(weights @ v, (0, 2, 1, 3)), x.shape))
    return call


def block(new):
    norm1, norm2, attend = new.layer_norm(), new.layer_norm(), attention(new)
    feed_forward = chain(new.dense(tasks.WIDTH, tasks.FEED_FORWARD), tf.nn.relu, new.dense(tasks.FEED_FORWARD, tasks.WIDTH))
    def call(x):
        x = x + attend(norm1(x))
        return x + feed_forward(norm2(x))
    return call


def transformer(new):
    embedding, positions = new.weight((tasks.VOCABULARY, tasks.WIDTH), 1.0), new.weight((tasks.LENGTH, tasks.WIDTH), 0.02)
    blocks, norm, head = chain(*(block(new) for _ in range(tasks.BLOCKS))), new.layer_norm(), new.dense(tasks.WIDTH, tasks.CLASSES)
    return lambda tokens: head(tf.reduce_mean(norm(blocks(tf.gather(embedding, tokens) + positions)), 1))


def deep(new, layers):
    stack = [f for _ in range(layers) for f in (new.dense(tasks.DEEP_FEATURES, tasks.DEEP_FEATURES), tf.nn.relu)]
    return chain(*stack, new.dense(tasks.DEEP_FEATURES, tasks.CLASSES))


def make_model(task):
    "(function, variables) for a task."
    new = Layers()
    if task.kind == "deep": model = deep(new, task.layers)
    elif task.kind == "many": model = new.dense(tasks.DEEP_FEATURES, tasks.CLASSES)
    elif task.kind == "mlp": model = chain(new.dense(28 * 28, 64), tf.nn.relu, new.dense(64, tasks.CLASSES))
    else: model = {"cnn": cnn, "resnet18": resnet18, "transformer": transformer}[task.kind](new)
    return model, new.variables


# ---- the step ----
class Sums:
    "Loss and accuracy of an epoch."
    def __init__(self): self.loss, self.right = tf.Variable(0.0), tf.Variable(0.0)

    def add(self, loss, logits, labels):
        self.loss.assign_add(loss)
        self.right.assign_add(tf.reduce_mean(tf.cast(tf.argmax(logits, 1) == labels, tf.float32)))

    def take(self, batches):
        "Their means; this waits for the device."
        means = float(self.loss) / batches, float(self.right) / batches
        self.loss.assign(0.0), self.right.assign(0.0)
        return means


def make_step(task, sums):
    "What one step does, to be used in a `tf.function`."
    model, variables = make_model(task)
    momenta = [tf.Variable(tf.zeros_like(v)) for v in variables]
    def step(x, y):
        with tf.GradientTape() as tape:
            logits = model(x)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
        for v, m, g in zip(variables, momenta, tape.gradient(loss, variables)):
            tf.raw_ops.ResourceApplyMomentum(var=v.handle, accum=m.handle, lr=tasks.LEARNING_RATE, grad=tf.convert_to_tensor(g), momentum=tasks.MOMENTUM, use_nesterov=True)
        sums.add(loss, logits, y)
    return step


# ---- the two loops: each makes a function that runs an epoch ----
def by_data(task, inputs, labels, step):
    compiled = tf.function(step)
    data = tf.data.Dataset.from_tensor_slices((inputs, labels)).shuffle(task.samples)
    data = data.batch(task.batch_size, drop_remainder=True, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    def epoch():
        for x, y in data: compiled(x, y)
    return epoch


def by_epoch(task, inputs, labels, step):
    inputs, labels = tf.constant(inputs), tf.constant(labels)
    @tf.function
    def epoch():
        order = tf.reshape(tf.random.shuffle(tf.range(task.samples)), (task.batches, task.batch_size))
        for i in tf.range(task.batches): step(tf.gather(inputs, order[i]), tf.gather(labels, order[i]))
    return epoch


def run(name, task, inputs, labels, clock):
    tf.random.set_seed(0)
    sums = Sums()
    epoch = {"tf-data": by_data, "tf-epoch": by_epoch}[name](task, inputs, labels, make_step(task, sums))
    for _ in range(task.epochs + 1):
        clock.start()
        epoch()
        means = sums.take(task.batches)
        clock.stop()
    return means
