"""What reading a stranger's .npz file can raise."""

from __future__ import annotations

import tokenize
import zipfile
import zlib

UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    EOFError,
    MemoryError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
)
"""NumPy reads an array's header by Python's tokenizer, which from Python 3.12 on has an error of its own for damage."""
