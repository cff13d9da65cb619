"""For the owner of the schema: migrations, domain tables, roles."""
