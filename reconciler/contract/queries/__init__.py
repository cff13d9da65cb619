"""Every SQL statement of Tracer: `verbs` move rows, `views` show them, `seeding` brings them in."""
