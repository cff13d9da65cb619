"""Which cells of a row say something, as a condition in SQL."""

# What Python strips.
WHITESPACE = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006"
    "\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
_ESCAPED = "".join(f"\\{ord(char):04x}" for char in WHITESPACE)


def says(value: str) -> str:
    """The condition that a jsonb `value` says something, as `contract.attributes` has it.

    Not by a regular expression: which characters are \\s depends on the database's locale.
    """
    return f"coalesce(btrim({value} #>> ARRAY[]::text[], U&'{_ESCAPED}'), '') <> ''"
