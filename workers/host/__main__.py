"""`python -m workers.host`: the local worker host."""

from workers.host.server import main

main()
