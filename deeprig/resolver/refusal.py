"""What is answered where nothing would work."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why not, in a sentence, and the nearest thing that would work."""

    refusal: str
    instead: str

    @property
    def sentence(self) -> str:
        return f"{self.refusal} Instead: {self.instead}"

    def to_json(self) -> dict[str, str]:
        return asdict(self)
