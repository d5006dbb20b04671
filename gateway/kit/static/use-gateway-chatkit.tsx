"use client";

// The gateway's chat for React: who is signed in, is ChatKit there, and the options for useChatKit.
//
//   const chat = useGatewayChatKit({ domainKey: "…" });
//   const { control } = useChatKit(chat.options);
//
// Rules: the same user keeps the same thread over a reload; a session that ends leaves the chat mounted ("expired"), so
// that what the user has typed is not lost; on a server nothing is asked and the state is "checking".

import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import type { UseChatKitOptions } from "@openai/chatkit-react";
import {
  createChatKitFetch,
  GatewayError,
  getPageContext,
  loadChatKit,
  rememberThread,
  session,
  whenChatKitReady,
  type ChatKitFetchOptions,
  type ChatKitWatch,
  type SignedInSession,
} from "./gateway-kit.js";

/** Everything of ChatKit's but how to reach the backend, which is the gateway's. */
type ChatKitLook = Omit<UseChatKitOptions, "api">;
type CustomApi = Extract<UseChatKitOptions["api"], { url: string }>;

export interface GatewayChatKitOptions extends ChatKitLook, Omit<ChatKitFetchOptions, "fetch"> {
  /** ChatKit's own; any text will do on localhost. */
  domainKey: string;
  /** The route's path at the gateway; default "/chatkit". */
  path?: string;
  /** The route's name in the gateway's settings, where routes differ in cookie. */
  route?: string;
  /** How attachments are uploaded; default: two_phase where the composer takes them. */
  uploadStrategy?: CustomApi["uploadStrategy"];
  /** Milliseconds that ChatKit's script may take; default 10,000. */
  timeout?: number;
}

/**
 * - checking: `/session` is being asked
 * - signed-out: show your login
 * - loading: signed in, ChatKit's script is on its way
 * - ready: show the chat
 * - expired: the session ended under the chat; leave it mounted, show your login beside it
 * - error: `error` says what; `retry` asks again
 */
export type GatewayChatState = "checking" | "signed-out" | "loading" | "ready" | "expired" | "error";

export interface GatewayChat {
  state: GatewayChatState;
  /** Who is, or was last, signed in. */
  session: SignedInSession | null;
  /** Why nobody is: for people. */
  reason: string | null;
  error: GatewayError | null;
  /** For useChatKit. */
  options: UseChatKitOptions;
  /** Ask again who is signed in, after a login for instance. */
  retry: () => void;
}

export function useGatewayChatKit(options: GatewayChatKitOptions): GatewayChat {
  const { domainKey, path = "/chatkit", route, uploadStrategy, timeout } = options;
  const { gatewayOrigin, origins, metadata, pageContext, onSignedOut, ...look } = withoutOwn(options);
  const latest = useLatest(options);
  const [asked, setAsked] = useState(0);
  const retry = useCallback(() => setAsked((times) => times + 1), []);
  const [signIn, setSignIn] = useSession(gatewayOrigin, route, asked);
  const script = useScript(timeout, asked);
  const judged = judge(signIn, script);
  const frameError = useFrameError(timeout, asked);
  const listedOrigins = origins?.join(" ") ?? "";
  const hasPageContext = pageContext !== false;

  const fetch = useMemo(
    () =>
      createChatKitFetch({
        gatewayOrigin,
        origins: listedOrigins.split(" ").filter(Boolean),
        metadata: () => valueOf(latest.current.metadata),
        pageContext: hasPageContext && (() => (latest.current.pageContext || getPageContext)()),
        onSignedOut: (detail) => {
          setSignIn((before) => signedOut(before, detail.message));
          latest.current.onSignedOut?.(detail);
        },
      }),
    [gatewayOrigin, listedOrigins, hasPageContext, latest, setSignIn],
  );

  const user = signIn.session ? JSON.stringify([signIn.session.issuer, signIn.session.user.id]) : null;
  const thread = useMemo(() => {
    if (user === null) return null;
    const [issuer, id] = JSON.parse(user) as [string, string];
    return rememberThread({ user: { id, issuer } });
  }, [user]);
  // Once per user: ChatKit would start anew if this followed every change of thread.
  const initialThread = useMemo(() => thread?.get() ?? null, [thread]);

  return {
    ...(frameError && judged.state === "ready" ? { state: "error", error: frameError } : judged),
    session: signIn.session,
    reason: signIn.reason,
    retry,
    options: {
      initialThread,
      ...look,
      api: { url: gatewayOrigin ? new URL(path, gatewayOrigin).href : path, domainKey, fetch, ...uploads(options, uploadStrategy) },
      onThreadChange: (event) => {
        thread?.set(event.threadId);
        latest.current.onThreadChange?.(event);
      },
    },
  };
}

interface SignIn {
  state: "checking" | "signed-out" | "signed-in" | "expired" | "error";
  session: SignedInSession | null;
  reason: string | null;
  error: GatewayError | null;
}

const NOBODY_YET: SignIn = { state: "checking", session: null, reason: null, error: null };

type SetSignIn = (change: (before: SignIn) => SignIn) => void;

function useSession(gatewayOrigin: string | undefined, route: string | undefined, asked: number): [SignIn, SetSignIn] {
  const [signIn, setSignIn] = useState(NOBODY_YET);
  useEffect(() => {
    const leaving = new AbortController();
    session({ gatewayOrigin, route, signal: leaving.signal }).then(
      (answer) => setSignIn((before) => (leaving.signal.aborted ? before : settle(before, answer))),
      (error: unknown) => setSignIn((before) => (leaving.signal.aborted ? before : fail(before, error))),
    );
    return () => leaving.abort();
  }, [gatewayOrigin, route, asked]);
  return [signIn, setSignIn];
}

function settle(before: SignIn, answer: Awaited<ReturnType<typeof session>>): SignIn {
  if (answer.authenticated) return { state: "signed-in", session: answer, reason: null, error: null };
  return signedOut(before, answer.reason);
}

function signedOut(before: SignIn, reason: string): SignIn {
  return { ...before, state: before.session ? "expired" : "signed-out", reason, error: null };
}

function fail(before: SignIn, error: unknown): SignIn {
  return { ...before, state: "error", error: asGatewayError(error) };
}

function asGatewayError(error: unknown): GatewayError {
  return error instanceof GatewayError ? error : new GatewayError(String(error), { cause: error });
}

type Script = Pick<ChatKitWatch, "state" | "error">;

function useScript(timeout: number | undefined, asked: number): Script {
  const [script, setScript] = useState<Script>({ state: "pending", error: null });
  const failed = useLatest(script.state === "error");
  useEffect(() => {
    const watch = failed.current ? reload(timeout) : whenChatKitReady({ timeout });
    const follow = () => setScript({ state: watch.state, error: watch.error });
    watch.subscribe(follow);
    follow();
    return () => watch.stop();
  }, [timeout, asked, failed]);
  return script;
}

/** The script as the page had it: where it came from, its nonce, its hash. */
function reload(timeout: number | undefined): ChatKitWatch {
  const script = document.querySelector<HTMLScriptElement>('script[src*="chatkit.js"]');
  return loadChatKit({ timeout, src: script?.src, nonce: script?.nonce, integrity: script?.integrity });
}

/**
 * ChatKit's frame goes away without a word where the domain key is refused. Whatever element reports that it is ready
 * is watched from then on: events reach the document on their way down, wherever and whenever the page shows its chat.
 */
function useFrameError(timeout: number | undefined, asked: number): GatewayError | null {
  const [error, setError] = useState<GatewayError | null>(null);
  useEffect(() => setError(null), [asked]);
  useEffect(() => {
    const leaving = new AbortController();
    let watch: ChatKitWatch | null = null;
    const follow = ({ target }: Event) => {
      watch?.stop();
      watch = whenChatKitReady({ timeout, element: target as HTMLElement });
      // Not `chatkit_removed`: closing the chat is the page's own business.
      watch.subscribe(({ error }) => error?.code === "chatkit_unmounted" && setError(error));
    };
    document.addEventListener("chatkit.ready", follow, { capture: true, signal: leaving.signal });
    return () => {
      leaving.abort();
      watch?.stop();
    };
  }, [timeout]);
  return error;
}

function judge(signIn: SignIn, script: Script): Pick<GatewayChat, "state" | "error"> {
  if (signIn.state !== "signed-in") return { state: signIn.state, error: signIn.error };
  if (script.state === "error") return { state: "error", error: script.error };
  return { state: script.state === "ready" ? "ready" : "loading", error: null };
}

function withoutOwn(options: GatewayChatKitOptions) {
  const { domainKey, path, route, uploadStrategy, timeout, ...rest } = options;
  return rest;
}

function uploads(options: GatewayChatKitOptions, strategy: CustomApi["uploadStrategy"]): Partial<CustomApi> {
  if (strategy) return { uploadStrategy: strategy };
  return options.composer?.attachments?.enabled ? { uploadStrategy: { type: "two_phase" } } : {};
}

function valueOf(metadata: ChatKitFetchOptions["metadata"]) {
  return typeof metadata === "function" ? metadata() : metadata;
}

/** The options of the last render, for functions that outlive it. */
function useLatest<T>(value: T): { current: T } {
  const latest = useRef(value);
  useEffect(() => {
    latest.current = value;
  });
  return latest;
}
