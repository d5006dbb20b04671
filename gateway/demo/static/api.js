// Requests of this page, all through the kit: it sends the cookie, adds the page context and makes refusals readable.

import { GatewayError, createChatKitFetch, getPageContext, readEvents } from "/kit/1.0.0/gateway-kit.js";

const CHAT_URL = "/chatkit";
const FILES_URL = "/attachments";

const send = createChatKitFetch({ metadata: { app: "gateway demo" }, pageContext: readPage });

export function readPage() {
  return getPageContext({ selection: true });
}

async function check(response) {
  if (!response.ok) throw await GatewayError.from(response);
  return response;
}

function post(type, params, signal) {
  const headers = { "content-type": "application/json" };
  return send(CHAT_URL, { method: "POST", headers, body: JSON.stringify({ type, params }), signal });
}

// An operation with one answer.
export async function call(type, params) {
  return (await check(await post(type, params))).json();
}

// An operation whose answer is a stream of events.
export async function* stream(type, params, signal) {
  yield* readEvents(await post(type, params, signal));
}

// Announced first, then sent to the link that the announcement gives. Returns the attachment as it is kept.
export async function upload(file, signal) {
  const { upload_descriptor: link } = await call("attachments.create", {
    name: file.name,
    size: file.size,
    mime_type: file.type || "application/octet-stream",
  });
  return (await check(await send(link.url, { method: link.method, headers: link.headers, body: file, signal }))).json();
}

// Links live for minutes, a conversation for years: fetched when somebody wants the file.
export async function downloadUrl(attachmentId) {
  const response = await check(await send(`${FILES_URL}?id=${encodeURIComponent(attachmentId)}`));
  return (await response.json()).download_url;
}
