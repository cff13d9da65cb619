"""Where the sample provider is."""

import os

from reconciler.contract.secrets import MissingSecret

URL = "SAMPLE_PROVIDER_URL"


class NoProvider(MissingSecret):
    """Nobody has said where the sample provider is."""

    def __init__(self) -> None:
        Exception.__init__(
            self,
            f"{URL} is not set: `tracer demo` starts the sample provider by itself; elsewhere run "
            "`python -m workers.sample`, and set what it prints for the workers",
        )


def provider_url() -> str:
    """The URL of the sample provider, without a slash at its end.

    Raises:
        NoProvider: it is not known; a step that asks for it is held.
    """
    if url := os.environ.get(URL):
        return url.rstrip("/")
    raise NoProvider
