"""Kernel modules that come ready and signed, as in Ubuntu's archive: modinfo reads them."""

import datetime
import struct
from collections.abc import Iterator
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

from lab.stand_ins import compiled, sources
from lab.stand_ins.deb import File
from lab.stand_ins.sources import Values

NAMES = ("nvidia", "nvidia-modeset", "nvidia-drm", "nvidia-uvm")
SIGNER = "Kernel module signing stand-in (deeprig lab)"
# As scripts/sign-file.c of the kernel writes it behind the signature; 2 is PKCS#7.
TRAILER = struct.Struct(">BBBBB3xI")
MAGIC = b"~Module signature appended~\n"


def ready(folder: str, values: Values) -> Iterator[tuple[str, File]]:
    """The modules of one driver for one kernel, below `folder`; none where that is empty."""
    for name in NAMES if folder else ():
        own = {"MODULE": name.replace("-", "_"), "NEEDS": "" if name == "nvidia" else "nvidia"}
        yield (
            f"{folder}/{name}.ko",
            File(signed(compiled.notes(sources.text("module.c", {**values, **own})))),
        )


def signed(module: bytes) -> bytes:
    """The module with its signature behind it."""
    key, certificate = _signer()
    signature = (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(module)
        .add_signer(certificate, key, hashes.SHA512())
        .sign(
            serialization.Encoding.DER,
            [
                pkcs7.PKCS7Options.DetachedSignature,
                pkcs7.PKCS7Options.NoCerts,
                pkcs7.PKCS7Options.NoAttributes,
                pkcs7.PKCS7Options.Binary,
            ],
        )
    )
    return module + signature + TRAILER.pack(0, 0, 2, 0, 0, len(signature)) + MAGIC


@cache
def _signer() -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SIGNER)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    return key, certificate
