"""The exceptions of evaltop: one hierarchy, and the command line's sentences."""


class Error(Exception):
    """Anything that evaltop refuses or fails at."""


class UsageError(Error, ValueError):
    """An argument that makes no sense; the sentence says what would."""


class RecordError(Error, ValueError):
    """A record that can't be accepted; the sentence names the field."""


class DuplicateTest(Error, ValueError):
    """One writer was given one test twice."""


class StoreError(Error):
    """A store that can't be read or written; the sentence names the file."""


class NoStoreError(StoreError, FileNotFoundError):
    """There is no store at this path."""


class LockedError(StoreError):
    """Another process holds the lock of the store."""
