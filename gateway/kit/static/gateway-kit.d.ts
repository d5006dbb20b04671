// Types of gateway-kit.js. The reasons are there.

export const KIT_VERSION: string;

export interface GatewayErrorFacts {
  status?: number | undefined;
  code?: string | undefined;
  requestId?: string | null | undefined;
  retryAfter?: number | null | undefined;
  cause?: unknown;
}

/** `message` is for people, `code` for programs; `status` is 0 without an answer; `retryAfter` is in seconds. */
export class GatewayError extends Error {
  constructor(message: string, facts?: GatewayErrorFacts);
  static from(response: Response): Promise<GatewayError>;
  readonly name: "GatewayError";
  readonly status: number;
  readonly code: string;
  readonly requestId: string | null;
  readonly retryAfter: number | null;
}

export type Metadata = Record<string, unknown>;

export interface SignedOut {
  status: number;
  code: string;
  message: string;
  requestId: string | null;
}

export interface ChatKitFetchOptions {
  /** Where the gateway is; default: the page's own origin. */
  gatewayOrigin?: string | undefined;
  /** Further origins that get credentials and page context. */
  origins?: readonly string[] | undefined;
  /** The application's own facts for the assistant, asked anew for every request if a function. */
  metadata?: Metadata | (() => Metadata | null | undefined) | undefined;
  /** What to say of the page; default: getPageContext. */
  pageContext?: (() => object | null | undefined) | false | undefined;
  /** Called once when the session has ended, beside the event `gateway:signed-out` on `window`. */
  onSignedOut?: ((detail: SignedOut) => void) | undefined;
  fetch?: typeof globalThis.fetch | undefined;
}

/** A fetch for ChatKit's `api.fetch`. */
export function createChatKitFetch(
  options?: ChatKitFetchOptions,
): (input: RequestInfo | URL, init?: RequestInit) => Promise<Response>;

export interface User {
  id: string;
  name: string | null;
  email: string | null;
  roles: readonly string[];
}

export interface SignedInSession {
  authenticated: true;
  user: User;
  issuer: string;
  /** ISO 8601, UTC. */
  expiresAt: string;
}

export interface SignedOutSession {
  authenticated: false;
  /** For people. */
  reason: string;
  code: string;
}

export type Session = SignedInSession | SignedOutSession;

export interface SessionOptions {
  gatewayOrigin?: string | undefined;
  /** Which route's cookie; default: the first in the gateway's settings. */
  route?: string | undefined;
  fetch?: typeof globalThis.fetch | undefined;
  signal?: AbortSignal | undefined;
}

/** Who is signed in. Throws GatewayError where nobody can tell. */
export function session(options?: SessionOptions): Promise<Session>;

export interface PageContext {
  url: string;
  path: string;
  title: string;
  description: string;
  headings: string[];
  selection?: string;
}

export interface PageContextOptions {
  /** Say what the user has selected as well. */
  selection?: boolean | undefined;
  document?: Document | undefined;
  /** Of the JSON; default 4096. */
  maxBytes?: number | undefined;
}

/** What page this is; null without a document. */
export function getPageContext(options?: PageContextOptions): PageContext | null;

export type ChatKitState = "pending" | "ready" | "error";

export interface ChatKitWatch {
  readonly state: ChatKitState;
  readonly error: GatewayError | null;
  /** The first outcome. */
  readonly promise: Promise<void>;
  /** Called at every change; returns what ends that. */
  subscribe(listener: (watch: ChatKitWatch) => void): () => void;
  stop(): void;
}

export interface ChatKitWatchOptions {
  /** Milliseconds; default 10,000. */
  timeout?: number | undefined;
  script?: HTMLScriptElement | string | undefined;
  /** The <openai-chatkit>, to watch its frame too. */
  element?: HTMLElement | undefined;
}

export function whenChatKitReady(options?: ChatKitWatchOptions): ChatKitWatch;

export interface LoadChatKitOptions {
  src?: string | undefined;
  integrity?: string | undefined;
  nonce?: string | undefined;
  timeout?: number | undefined;
  element?: HTMLElement | undefined;
}

/** Insert the official script, once, and watch it. */
export function loadChatKit(options?: LoadChatKitOptions): ChatKitWatch;

export interface ThreadMemory {
  get(): string | null;
  set(id: string | null): void;
  clear(): void;
}

export interface RememberThreadOptions {
  user: { id: string; issuer?: string };
  storage?: Pick<Storage, "getItem" | "setItem" | "removeItem"> | undefined;
  key?: string | undefined;
}

export function rememberThread(options: RememberThreadOptions): ThreadMemory;

/** An event of the ChatKit protocol. */
export interface ChatKitEvent {
  type: string;
  [name: string]: unknown;
}

/** The events of a ChatKit answer, as they come. */
export function readEvents(response: Response): AsyncGenerator<ChatKitEvent, void, undefined>;

export interface AskAboutSelectionOptions {
  onAsk: (text: string) => void;
  root?: Element | undefined;
  label?: string | undefined;
  maxLength?: number | undefined;
}

export function askAboutSelection(options: AskAboutSelectionOptions): { stop(): void };

declare global {
  interface WindowEventMap {
    "gateway:signed-out": CustomEvent<SignedOut>;
  }
}
