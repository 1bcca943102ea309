"""What frameworks are asked to compute; tests/unit/test_with_torch.py runs it by torch itself."""

NEAR = "print(bool(abs(numpy.asarray(product) - numpy.asarray(a) @ numpy.asarray(b)).max() < 1e-3))"
MULTIPLIES = {
    "torch": "import numpy, torch; a, b = torch.randn(2, 256, 256); product = a @ b",
    "jax": "import numpy, jax; jax.config.update('jax_default_matmul_precision', 'highest'); "
    "a, b = jax.random.normal(jax.random.key(0), (2, 256, 256)); product = a @ b",
    "tensorflow": "import numpy, tensorflow as tf; "
    "tf.config.experimental.enable_tensor_float_32_execution(False); "
    "a, b = tf.random.normal((2, 256, 256)); product = a @ b",
}
GPUS_SEEN = {
    "torch": "import torch; print(torch.ones(3, device='cuda').sum().item(), "
    "torch.cuda.device_count())",
    "jax": "import jax; print(jax.numpy.ones(3).sum(), jax.device_count('gpu'))",
    "tensorflow": "import tensorflow as tf; gpus = tf.config.list_physical_devices('GPU')\n"
    "with tf.device('GPU:0'): print(tf.reduce_sum(tf.ones(3)).numpy(), len(gpus))",
}

# Its number, and where the libraries lie that are really loaded.
CUDNN_IN_USE = """
import pathlib, torch
number = torch.backends.cudnn.version() if torch.version.cuda else None
lines = pathlib.Path('/proc/self/maps').read_text().splitlines()
paths = sorted({line.split()[-1] for line in lines if 'libcudnn' in line})
print(number, *paths) if torch.version.cuda else print('no CUDA')
"""

ON_EVERY_CARD = """
import torch
for n in range(torch.cuda.device_count()):
    a, b = torch.randn(2, 512, 512, device=f'cuda:{n}')
    near = (a @ b).cpu().sub(a.cpu() @ b.cpu()).abs().max().item() < 0.5
    convolved = torch.nn.functional.conv2d(a[None, None], b[None, None, :3, :3]).isfinite().all()
    print(n, near and bool(convolved))
"""

# 256 MiB from each card added up on all of them, by NCCL in one process: right or not, and GB/s as
# nccl-tests count them on the bus.
TOGETHER = """
import time, torch
cards = range(torch.cuda.device_count())
parts = [torch.full((1 << 26,), float(n), device=f'cuda:{n}') for n in cards]
torch.cuda.nccl.all_reduce(parts)
right = all(bool((part == sum(cards)).all()) for part in parts)
started = time.perf_counter()
for _ in range(5):
    torch.cuda.nccl.all_reduce(parts)
for n in cards:
    torch.cuda.synchronize(n)
seconds = (time.perf_counter() - started) / 5
moved = 2 * (len(cards) - 1) / len(cards) * parts[0].nbytes
print(right, f'{moved / seconds / 1e9:.1f}')
"""
