"""`python -m evaltop`: the same program as the `evaltop` command."""

import signal
import sys


def main() -> int:
    """Run the command line and return its exit code."""
    from . import _native

    # Python's own handler would only run once the native code returns.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _native.main(["evaltop", *sys.argv[1:]], [sys.executable, "-m", "evaltop"])


if __name__ == "__main__":
    sys.exit(main())
