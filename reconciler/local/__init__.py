"""Services on this machine: the embedded Postgres and the local stack."""
