"""The settings of GPU passthrough: which cards leave the box, and the guest that gets them."""

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from deeprig.settings.types import Branch, HostName, Image, PciAddress, PublicKey, Sha256, UserName
from deeprig.settings.validation import setting_group


@setting_group
class Guest:
    """A virtual machine that gets the cards: an image with cloud-init, and who may log in to it.

    `image` is an address with its `sha256`, or a path on the box. `pin` names a processor of the
    box for each of the guest's. `driver` is the branch that the guest runs, where it is an old one.
    """

    image: Image
    sha256: Sha256 | None = None
    keys: tuple[PublicKey, ...]
    name: HostName = "guest"
    user: UserName = "ai"
    processors: PositiveInt = 4
    memory_mib: PositiveInt = 8192
    disk_gib: PositiveInt = 40
    pin: tuple[int, ...] = ()
    huge_pages: bool = False
    driver: Branch | None = None

    @model_validator(mode="after")
    def _can_come_up(self) -> "Guest":
        if not self.keys:
            raise ValueError("Guest.keys is empty, and nobody could log in; give a public key")
        if "://" in self.image and self.sha256 is None:
            raise ValueError(
                "Guest.image is an address and Guest.sha256 is missing; give the image's SHA-256, "
                "as its maker's SHA256SUMS has it"
            )
        if self.pin and (len(self.pin) != self.processors or len(set(self.pin)) != len(self.pin)):
            raise ValueError(
                f"Guest.pin is {self.pin} and Guest.processors is {self.processors}; name one "
                "processor of the box for each of the guest's"
            )
        return self


@setting_group
class Passthrough:
    """Graphics cards that a guest gets whole, by PCI address; the box itself does without them.

    `accept` names what would be refused otherwise: "last-gpu", "console-gpu", or the address of
    another device that goes with a card because it is in its IOMMU group. `hand_over` is when a
    card changes hands: at the next "boot", or "when-idle", at once if nothing on the box uses it.
    """

    gpus: tuple[PciAddress, ...] = Field(min_length=1)
    guest: Guest | None = None
    accept: tuple[Literal["last-gpu", "console-gpu"] | PciAddress, ...] = ()
    hand_over: Literal["boot", "when-idle"] = "boot"

    @model_validator(mode="after")
    def _once_each(self) -> "Passthrough":
        for address in self.gpus:
            if self.gpus.count(address) > 1:
                raise ValueError(f"Passthrough.gpus names {address} twice; once is enough")
        return self
