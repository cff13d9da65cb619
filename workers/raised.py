"""What a step may raise to say how its attempt ends."""


class PermanentError(Exception):
    """Raised by a step: no further attempt would help, so the row becomes FAILED at once."""


class NotFound(Exception):
    """Raised by a step: there is nothing to find about the company, so the row is NOT_FOUND.

    To return None says the same.
    """


class RetryAfter(Exception):
    """Raised by a step: the other side asks to be left alone for `seconds`."""

    def __init__(self, seconds: float, reason: str = "") -> None:
        super().__init__(reason or f"asked to wait {seconds:g} s")
        self.seconds = seconds
