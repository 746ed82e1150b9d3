"""The one error that speaks to the user, and what the system says within it."""


class UserError(ValueError):
    """Bad input. The message is one line: what is wrong, and how to mend it.

    The command line prints it and exits with code 2; a library caller may catch it as a ``ValueError``.
    """


def reason(error: OSError) -> str:
    """Why the system refused, in the middle of a message."""
    return (error.strerror or str(error)).lower()
