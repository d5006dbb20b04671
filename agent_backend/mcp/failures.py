"""What can go wrong with an MCP server, and what the model, the user and the log are told.

Rules: what the model is told is ours, in fixed sentences, so that it can tell the user and no server's text can carry
a token past us; the reason for operators is a short phrase. A call that may have been carried out is never repeated.
"""

from agents import RunContextWrapper, UserError
from chatkit.errors import CustomStreamError


class ServerUnavailable(Exception):
    """No tools of this server for this turn. ``is_down``: nobody could reach it, so it is not worth trying at once."""

    def __init__(self, reason: str, *, is_down: bool = False) -> None:
        super().__init__(reason)
        self.is_down = is_down


class TokenRefused(ServerUnavailable):
    """The server does not accept this user's token."""


class SessionLost(Exception):
    """The session is gone, and the call was not carried out: it can be made again on a new one."""


class ToolFailed(UserError):
    """A call failed; the text is for the model. The SDK passes a UserError on as it is."""


class RequiredServerUnavailable(CustomStreamError):
    """Ends the turn with an `error` event that says why."""

    def __init__(self, shown_name: str, cause: ServerUnavailable) -> None:
        if isinstance(cause, TokenRefused):
            message = f"{shown_name} does not accept your sign-in. Please sign in again."
        else:
            message = f"{shown_name} cannot be reached right now. Please try again."
        super().__init__(message, allow_retry=not isinstance(cause, TokenRefused))
        # CustomStreamError keeps its message to itself; a log line wants it.
        self.args = (message,)


def tell_model(run: RunContextWrapper[object], error: Exception) -> str:
    """What the model gets as the tool's result. Of any error but ours nothing is repeated."""
    return str(error) if isinstance(error, ToolFailed) else "The tool failed. Tell the user; do not try it again."
