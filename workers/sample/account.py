"""The sample provider's own count of its calls."""

from dataclasses import asdict, dataclass


@dataclass
class Account:
    """What has come of the calls: each was `found`, `unknown` (404), `limited` (429), an `error`
    (500), or `repeated` with a key that was answered before. `charged`: in credits."""

    calls: int = 0
    found: int = 0
    unknown: int = 0
    limited: int = 0
    errors: int = 0
    repeated: int = 0
    charged: int = 0

    def __sub__(self, earlier: "Account") -> "Account":
        """What has been added since."""
        before = asdict(earlier)
        return Account(**{name: value - before[name] for name, value in asdict(self).items()})
