import { forward } from "../../../lib/forward";

export const dynamic = "force-dynamic";
export const runtime = "nodejs";

export function GET(request: Request): Promise<Response> {
  return forward(request, "/session");
}
