"""Which version of Modal's client the stand-in can talk to."""

SPEAKS = "1.6.4"
