"""The error a user can act on: its message names the file, the row or key, and what to do."""


class InputError(Exception):
    """Bad input: the message is complete for the user, a traceback would add nothing."""
