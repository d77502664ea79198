"""A blocking client of the Asterisk Manager Interface."""
