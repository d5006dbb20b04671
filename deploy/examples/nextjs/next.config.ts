import type { NextConfig } from "next";

// Where the gateway is, seen from this server. Read when you build: `next start` uses what `next build` wrote down.
const GATEWAY = process.env.GATEWAY_URL ?? "http://127.0.0.1:8080";

const config: NextConfig = {
  poweredByHeader: false,
  // All that a front end on one origin with the gateway needs: headers, cookies, streams and Stop go through as they are.
  rewrites: async () => ["/chatkit", "/session"].map((path) => ({ source: path, destination: GATEWAY + path })),
};

export default config;
