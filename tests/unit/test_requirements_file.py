"""A requirements file of the user's own is understood, or refused in a line that says where."""

from pathlib import Path

import pytest

from deeprig.errors import DeeprigError
from deeprig.settings import Python, requirements_file

A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


def file(tmp_path: Path, said: str | bytes) -> str:
    path = tmp_path / "requirements.txt"
    path.write_bytes(said if isinstance(said, bytes) else said.encode())
    return str(path)


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ("numpy", "numpy\n"),
        ("# mine\n\nnumpy >= 2 # newest\nscipy==1.17.0\n", "numpy>=2\nscipy==1.17.0\n"),
        ('tomli==2; python_version < "3.11"', 'tomli==2; python_version < "3.11"\n'),
        ("jax[cuda13]==0.12.0", "jax[cuda13]==0.12.0\n"),
        (
            f"numpy==2.4.1 \\\n    --hash={A} \\\n    --hash={B}\n    # via jax\n",
            f"numpy==2.4.1 \\\n    --hash={A} \\\n    --hash={B}\n",
        ),
    ],
)
def test_what_it_asks_for_is_what_the_box_gets(tmp_path: Path, said: str, sent: str) -> None:
    assert requirements_file.text(file(tmp_path, said)) == sent
    assert Python(lock=file(tmp_path, said)).lock == file(tmp_path, said)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", "it asks for nothing"),
        ("# nothing\n", "it asks for nothing"),
        (b"\xff\xfe", "no text in UTF-8"),
        (b"numpy\n" * 1_000_000, "larger than 4 MiB"),
        ("numpy\n[[package]]\n", r"line 2, '\[\[package\]\]', is no requirement"),
        ("dependencies:\n  - numpy\n", "line 1, 'dependencies:', is no requirement"),
        ("numpy\n-r more.txt\n", "line 2 has the option -r"),
        ("--index-url https://me:pw@pypi.lan\nnumpy", "line 1 has the option --index-url, which"),
        ("-e .\n", "line 1 has the option -e"),
        ("x @ https://me:pw@pypi.lan/x.whl\n", "line 1 gets x from an address"),
        (f"a==1 --hash={A}\nb==1\n", "b has no --hash and others have"),
        (f"a>=1 --hash={A}\n", "a has a --hash and no version"),
        (f"a==1.* --hash={A}\n", "a has a --hash and no version"),
        ("a==1 --hash=md5:aa\n", "line 1 has the option --hash"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(
    tmp_path: Path, said: str | bytes, why: str
) -> None:
    with pytest.raises(DeeprigError, match=why) as refused:
        Python(lock=file(tmp_path, said))
    assert "\n" not in str(refused.value)
    assert "pw" not in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(DeeprigError, match="cannot be read"):
            Python(lock=str(path))


def test_those_for_some_boxes_only_are_no_promise(tmp_path: Path) -> None:
    said = 'NumPy==2\ntomli==2; python_version < "3.11"\n'
    assert requirements_file.names(file(tmp_path, said)) == {"numpy"}
