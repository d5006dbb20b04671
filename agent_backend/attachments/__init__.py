"""Files that users send: uploaded, previewed, downloaded, shown to the model, deleted. Bytes here, rows in the store.

    parts        everything put together, by                     settings     its table
    endpoints    what answers where: upload, preview, download, links
    library      the whole life of an attachment: row and bytes together
    chatkit      the two places where ChatKit asks: its AttachmentStore, and the Store with fresh links
    uploads      a stream in: counted, judged, kept                      multipart    the file field of a form
    reading      what the model is given of an attachment
    renditions   smaller pictures, made apart                            thumbnail    the process that makes them
    links        signed, expiring URLs at the gateway
    records      the rows, each query filtered by owner
    directory    bytes in a directory                                    storage      what is asked of any storage
    kinds        which type is this really? by its content
    names        file names: cleaned, and in headers
    limits       every bound with its unit and reason
    refusals     what can be wrong with an attachment, and how it is told

Rules: a row exists before the first byte and until after the last one, so nothing in the storage is ever without an
owner. Keys are ids of ours; a file's own name is text and never a path. The gateway checks a link, and so do we.
"""

from agent_backend.attachments.parts import AttachmentParts, build_attachments, build_library
from agent_backend.attachments.settings import AttachmentSettings

__all__ = ["AttachmentParts", "AttachmentSettings", "build_attachments", "build_library"]
