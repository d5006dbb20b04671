"""What can be wrong with an attachment, and how it is told. A class is a code; the exception's text is for the log."""

from agent_backend.problems import Conflict, Problem


class AttachmentRefused(Problem):
    """It will never do: what was announced is forgotten, and nothing is kept."""


class TooLarge(AttachmentRefused):
    status = 413
    code = "attachment_too_large"
    message = "This file is too large."


class Empty(AttachmentRefused):
    status = 400
    code = "attachment_empty"
    message = "This file is empty."


class SizeDiffers(AttachmentRefused):
    status = 400
    code = "attachment_size_differs"
    message = "The file did not arrive whole. Please attach it again."


class TypeNotAccepted(AttachmentRefused):
    status = 415
    code = "attachment_type_not_accepted"
    message = "This kind of file is not accepted."


class TypeDiffers(AttachmentRefused):
    """The content is not what the client says it is."""

    status = 415
    code = "attachment_type_differs"
    message = "The file is not what its name says, or it is damaged."


class QuotaExceeded(Conflict):
    code = "attachment_quota_exceeded"
    message = "Your attachments take up all the space you have. Please delete conversations with attachments."


class TooManyPending(Conflict):
    code = "attachment_too_many_pending"
    message = "Too many files are being uploaded at once. Please wait for some of them."


class AlreadyUploaded(Conflict):
    code = "attachment_already_uploaded"
    message = "This file has been uploaded already."


class BeingUploaded(Conflict):
    code = "attachment_being_uploaded"
    message = "This file is just being uploaded. Please wait until it is, or try again in a moment."


class FormInvalid(Problem):
    status = 400
    code = "attachment_form_invalid"
    message = "The upload is not a form with one file in it."


class UploadIncomplete(Problem):
    """The client left or went silent. Nobody reads the answer; the log does."""

    status = 400
    code = "attachment_incomplete"
    message = "The upload ended too early."


class LinkRefused(Problem):
    """The gateway lets only good links through: two services with different keys come here, and tampering inside."""

    status = 403
    code = "attachment_link_refused"
    message = "This link is not valid any more. Please open the conversation again."


class StorageUnavailable(Problem):
    status = 503
    code = "attachment_storage_unavailable"
    message = "Files cannot be stored right now. Please try again later."
