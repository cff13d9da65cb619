"""The schema's owner: migrations, domain tables, roles."""
