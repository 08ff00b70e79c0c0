"""What can go wrong through a person's mistake, and what is odd but not wrong."""


class PosekitError(Exception):
    """A mistake in the input. ``str(error)`` is one clear line: the file, the field, what was found, what was expected.

    The command line prints that line and exits with 2; nothing half-written is left behind.
    """


class NoSpaceError(PosekitError):
    """The disk is full, or a quota is used up. What was there is unharmed; the same command goes on once there is space."""


class PosekitWarning(UserWarning):
    """Something odd that was read or repaired all the same; the command line prints it as one line."""
