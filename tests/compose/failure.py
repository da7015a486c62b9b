"""What the check raises when something is not as it should be."""


class CheckFailed(Exception):
    """The compose file, or what it starts, does not do what it promises; the message says what."""
