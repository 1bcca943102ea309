"""The versions of CUDA, cuDNN and NCCL, in the words of nvcc and of their headers."""

import re

NVCC = re.compile(r"release (\d+\.\d+), V(\d+\.\d+\.\d+)")


def nvcc(text: str) -> tuple[str, str] | None:
    """("13.0", "13.0.88") of `nvcc --version`."""
    release = NVCC.search(text)
    return (release[1], release[2]) if release else None


def cudnn(header: str) -> str | None:
    """9.26.0 of cudnn_version.h."""
    return _defined(header, "CUDNN_MAJOR", "CUDNN_MINOR", "CUDNN_PATCHLEVEL")


def nccl(header: str) -> str | None:
    """2.29.7 of nccl.h."""
    return _defined(header, "NCCL_MAJOR", "NCCL_MINOR", "NCCL_PATCH")


def _defined(header: str, *names: str) -> str | None:
    numbers = dict(re.findall(r"^#define (\w+) +(\d+)", header, re.MULTILINE))
    return ".".join(numbers[name] for name in names) if set(names) <= numbers.keys() else None
