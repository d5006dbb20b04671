"""The agent backend's tests. ChatKit 1.6.5 warns of its own widget classes the moment it is imported: once, here."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import chatkit.server  # noqa: F401  imported for its warnings, so that every later import is silent
