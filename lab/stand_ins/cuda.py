"""Toolkits, cuDNN and NCCL as NVIDIA's repository has them."""

from collections.abc import Iterator

from lab.stand_ins import catalogue
from lab.stand_ins.catalogue import Row, covers
from lab.stand_ins.deb import Package


def packages(dist: str) -> Iterator[Package]:
    """All that the directory has besides drivers."""
    table = catalogue.table("nvidia_cuda")
    for kind in ("toolkit", "cudnn", "nccl"):
        for release in table[kind]:
            if dist in release["in"]:
                yield from _of(release, table[f"{kind}_package"])


def _of(release: Row, rows: list[Row]) -> Iterator[Package]:
    values = {key: text for key, text in release.items() if isinstance(text, str)}
    if cuda := values.get("cuda"):
        values |= {"dashed": cuda.replace(".", "-"), "plain": cuda.replace(".", "")}
        values.setdefault("major", cuda.partition(".")[0])
    numbers = enumerate(values.get("numbers", "").split(), start=1)
    values |= {f"N{place}": number for place, number in numbers}
    for row in rows:
        if covers(row, int(values.get("plain", "0"))):
            yield catalogue.package(row, values)
