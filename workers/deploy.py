"""`python -P -m workers.deploy`: Modal's own `modal deploy`, on `workers.app`."""

import sys

from modal.__main__ import main

from workers.runtime.loading import see_working_directory

if __name__ == "__main__":
    see_working_directory()
    sys.path.append("")  # or Modal puts the working directory first, and takes its `workers`
    sys.argv[1:1] = ["deploy", "-m", "workers.app"]
    main()  # type: ignore[no-untyped-call]
