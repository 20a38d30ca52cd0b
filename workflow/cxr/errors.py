"""The errors a user can act on: the message says what happened and what to do; a traceback would add nothing."""


class InputError(Exception):
    """Bad input: the message names the file, the row or key, and what to do."""


class Interrupted(Exception):
    """A run was asked to stop and has saved its state."""


class Done(Exception):
    """There is nothing left to do: the message says why."""
