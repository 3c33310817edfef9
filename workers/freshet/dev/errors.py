"""What keeps a command from going on and a user can mend; the text says how."""


class CommandFailed(Exception):
    """Base: the command ends with this text and exit code 1."""


class NotInstalled(CommandFailed):
    """Something that an embedded server needs is missing."""


class ServerFailed(CommandFailed):
    """A server or service did not start or has died; the text has the end of its log."""


class PortInUse(CommandFailed):
    """A port that we were told to use belongs to another program."""
