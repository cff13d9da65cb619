"""The file descriptors of this process: a step may leak them until none is left for its mates."""

import os
import resource

MOST_USED = 0.8  # of the limit; what is left is for the calls under way


def raise_descriptor_limit() -> None:
    """Allow this process as many as it may allow itself."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS says unlimited, and takes less
        return


def are_low() -> bool:
    """Whether hardly any are left. A new one gets the lowest number that is free."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        lowest = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    os.close(lowest)
    return soft != resource.RLIM_INFINITY and lowest > MOST_USED * soft
