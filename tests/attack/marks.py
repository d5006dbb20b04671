"""What must never come out again: every secret and personal value of the rows begins with one of these."""

from typing import Final

# In each value below and in nothing else that runs here, so that one search finds them all.
MARK: Final = "mark-"

SUBJECT: Final = "mark-sub-7f3a"
NAME: Final = "mark-name-7f3a"
EMAIL: Final = "mark-mail-7f3a@example.test"
ROLE: Final = "mark-role-7f3a"
# In bodies, in cookies that are not ours, and in whatever a client says about who it is.
BODY: Final = "mark-body-7f3a"
COOKIE: Final = "mark-cookie-7f3a"
EVIL: Final = "mark-evil-7f3a"

# How every JWT and JWE begins: base64url of `{"`.
TOKEN: Final = "eyJ"
