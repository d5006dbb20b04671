// The gateway's answer to a request, streamed both ways: for those who cannot use `rewrites`.

// Read when the process starts, not when you build.
const GATEWAY = process.env.GATEWAY_URL ?? "http://127.0.0.1:8080";

// They belong to one connection only (RFC 9110 section 7.6.1), or are made anew by whoever writes the message.
const NOT_FORWARDED = [
  "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect",
  "host", "content-length",
];

/**
 * Hand a request on to `path` at the gateway: its method, query, body and every header, the cookie and `Origin` among
 * them, which the gateway judges.
 */
export async function forward(request: Request, path: string): Promise<Response> {
  const headers = without(request.headers, NOT_FORWARDED);
  // `fetch` would unpack a compressed answer, which holds events back.
  headers.set("accept-encoding", "identity");
  const init: RequestInit & { duplex: "half" } = {
    method: request.method,
    headers,
    body: request.body,
    duplex: "half", // a body that is a stream
    redirect: "manual",
    cache: "no-store",
    signal: request.signal, // Stop and a closed tab end the answer at the gateway too
  };
  try {
    const answer = await fetch(GATEWAY + path + new URL(request.url).search, init);
    return new Response(answer.body, { status: answer.status, headers: without(answer.headers, NOT_FORWARDED) });
  } catch (error) {
    if (request.signal.aborted) return new Response(null, { status: 499 }); // nobody is there to read it
    console.error(`${GATEWAY}${path}:`, error);
    return unreachable();
  }
}

// ChatKit shows `message`. 424, since it sends a POST again after a 5xx, five times.
function unreachable(): Response {
  const message = "The assistant cannot be reached right now. Try again in a moment.";
  return Response.json({ message, code: "gateway_unreachable" }, { status: 424 });
}

function without(headers: Headers, names: string[]): Headers {
  const kept = new Headers(headers);
  for (const name of [...names, ...namedBy(headers.get("connection"))]) kept.delete(name);
  return kept;
}

// `Connection` names further headers that are its own.
function namedBy(connection: string | null): string[] {
  return (connection ?? "").split(",").map((name) => name.trim()).filter((name) => /^[\w!#$%&'*+.^`|~-]+$/.test(name));
}
