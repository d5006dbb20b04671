// Only where `rewrites` will not do; then give ChatKit the URL /handler/chatkit.
import { forward } from "../../../lib/forward";

// Never cached, and in Node's runtime: the answer is a stream that lasts as long as the assistant speaks.
export const dynamic = "force-dynamic";
export const runtime = "nodejs";

export function POST(request: Request): Promise<Response> {
  return forward(request, "/chatkit");
}
