"""Messages about memory, open files and threads of this process that have run out."""

from __future__ import annotations

import errno
import re

_NO_MEMORY = "there is not enough memory{}: allow more (ulimit -v, MemoryMax=)"


def describe_shortage(error: BaseException) -> str | None:
    """Return the cause and a remedy in one line, or None if nothing has run out.

    Args:
        error: An error of Python, NumPy, OpenCV or ONNX Runtime.
    """
    number = error.errno if isinstance(error, OSError) else None
    text = str(error)
    if number in (errno.EMFILE, errno.ENFILE):
        return "too many files are open: raise the limit of open files (ulimit -n, LimitNOFILE=)"
    if isinstance(error, ImportError):
        # A native library does not fit. NumPy puts a page of advice before the cause.
        library = re.search(r"([\w.+-]+\.so[\w.]*)(?=: (?:failed to map|cannot allocate|cannot enable))", text, re.IGNORECASE)
        return _NO_MEMORY.format(f" to load {library[1]}") if library else None
    if "can't start new thread" in text:
        return "no further thread can be started: allow more memory or threads (ulimit -v, ulimit -u, TasksMax=)"
    # OpenCV and ONNX Runtime have errors of their own.
    if isinstance(error, MemoryError) or number == errno.ENOMEM or re.search(r"bad_alloc|error: \(-4:Insufficient memory\)", text):
        return _NO_MEMORY.format("")
    return None
