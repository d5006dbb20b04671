// What a page needs to chat through the gateway: identity that scripts never see, page context, readable errors.
//
// One ES module without dependencies. Rules: credentials and page context go to listed origins and to nobody else; what
// ChatKit sent (headers, abort signal, every body that is not its own JSON) arrives as it was; nothing here touches the
// page at import, so that a server can render with it.

export const KIT_VERSION = "1.0.0";

// --- Errors ---

/** What went wrong, for people (`message`) and for programs (`code`, `status`; 0 where there was no answer). */
export class GatewayError extends Error {
  constructor(message, { status = 0, code = "unknown", requestId = null, retryAfter = null, cause } = {}) {
    super(message, { cause });
    this.name = "GatewayError";
    this.status = status;
    this.code = code;
    this.requestId = requestId;
    this.retryAfter = retryAfter; // seconds
  }

  /** The error that an answer speaks of; reads its body. */
  static async from(response) {
    return problemOf(response, parseObject(await readText(response)));
  }
}

const SENTENCES = {
  401: "You are not signed in. Sign in and try again.",
  403: "You do not have permission to do this.",
  404: "This is not there any more.",
  413: "This is too large to send.",
  429: "Too many requests at once.",
  502: "The assistant cannot be reached right now.",
  503: "The service is not available right now.",
  504: "The assistant did not answer in time.",
};
const WORTH_ANOTHER_TRY = new Set([429, 502, 503, 504]);

// Bytes of a failed answer that are read: a problem has some 300, an error page of a proxy a few thousand.
const MAX_PROBLEM = 64 * 1024;

function problemOf(response, body) {
  return new GatewayError(messageOf(body) ?? sentenceFor(response), {
    status: response.status,
    code: textOf(body?.code) ?? `status_${response.status}`,
    requestId: textOf(body?.request_id) ?? response.headers.get("x-request-id"),
    retryAfter: retryAfterOf(response),
  });
}

function messageOf(body) {
  return textOf(body?.message) ?? textOf(body?.detail);
}

function textOf(value) {
  return typeof value === "string" && value.trim() !== "" ? value : null;
}

function sentenceFor(response) {
  const sentence = SENTENCES[response.status] ?? `The service answered with an error (${response.status}).`;
  if (!WORTH_ANOTHER_TRY.has(response.status)) return sentence;
  return `${sentence} Try again ${inWords(retryAfterOf(response))}.`;
}

// Seconds or a date: RFC 9110 section 10.2.3.
function retryAfterOf(response) {
  const value = response.headers.get("retry-after")?.trim() ?? "";
  if (/^\d{1,9}$/.test(value)) return Number(value);
  const moment = Date.parse(value);
  return Number.isNaN(moment) ? null : Math.max(0, Math.ceil((moment - Date.now()) / 1000));
}

function inWords(seconds) {
  if (seconds === null || seconds <= 1) return "in a moment";
  if (seconds < 90) return `in ${seconds} seconds`;
  if (seconds < 90 * 60) return `in ${Math.round(seconds / 60)} minutes`;
  return seconds < 36 * 3600 ? `in ${Math.round(seconds / 3600)} hours` : "later";
}

async function readText(response) {
  const reader = response.body?.getReader();
  if (!reader) return "";
  const decoder = new TextDecoder();
  let text = "";
  while (text.length < MAX_PROBLEM) {
    const { value, done } = await reader.read();
    if (done) return text + decoder.decode();
    text += decoder.decode(value, { stream: true });
  }
  reader.cancel().catch(() => {});
  return "";
}

function parseObject(text) {
  try {
    const value = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// --- The fetch that ChatKit is given ---

/**
 * A `fetch` for ChatKit's `api.fetch`. Options: `gatewayOrigin`, `origins`, `metadata`, `pageContext`, `onSignedOut`,
 * `fetch`.
 */
export function createChatKitFetch(options = {}) {
  const { metadata, onSignedOut } = options;
  const pageContext = options.pageContext === false ? null : (options.pageContext ?? (() => getPageContext()));
  const listed = new Set([options.gatewayOrigin, ...(options.origins ?? [])].filter(Boolean).map(originOf));
  const send = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
  const signIn = new SignInWatch(onSignedOut);
  const complain = onceUntilSuccess("error");
  const warn = onceUntilSuccess("warn");

  return async function chatKitFetch(input, init = {}) {
    const url = resolve(input);
    const trust = trustIn(url, listed);
    const body = trust && isPost(input, init) ? parseRequest(init.body) : null;
    const request = { ...init, ...credentialsFor(trust, body) };
    if (body) request.body = JSON.stringify(withMetadata(body, metadata, pageContext));
    const period = signIn.period;
    let response;
    try {
      response = await send(input, request);
    } catch (error) {
      if (isNetworkFailure(error) && isElsewhere(url)) complain(explainFailure(url));
      throw error;
    }
    if (response.type === "opaqueredirect") return redirected(url);
    if (response.ok) for (const said of [complain, warn]) said.succeeded();
    const answer = response.status >= 400 ? await readable(response) : { response };
    if (trust) signIn.take(response, period, answer.problem);
    if (answer.problem?.code === "cross_site_request") complain(explainRefusal(url));
    if (answer.problem?.code === "credential_missing" && isElsewhere(url)) warn(explainMissing(url));
    return answer.response;
  };
}

// Who gets what. Own origin: cookies by the browser's own rule, which drops them on a redirect to elsewhere. A listed
// origin: cookies, but then no redirect may carry the request on, and neither what is said of the page. Everybody else
// (an upload's storage, for one): nothing.
function credentialsFor(trust, body) {
  if (trust === null) return { credentials: "omit" };
  if (trust === "listed") return { credentials: "include", redirect: "manual" };
  return body ? { credentials: "same-origin", redirect: "manual" } : { credentials: "same-origin" };
}

function trustIn(url, listed) {
  if (url === null || url.origin === "null") return null;
  if (url.origin === pageOrigin()) return "own";
  return listed.has(url.origin) ? "listed" : null;
}

function originOf(value) {
  const url = parseUrl(value);
  if (url?.protocol !== "https:" && url?.protocol !== "http:") {
    throw new TypeError(`${value} is no origin; give scheme and host, such as https://chat.example.com`);
  }
  return url.origin;
}

function pageOrigin() {
  return globalThis.location?.origin ?? null;
}

// As fetch itself resolves it: against the document's base, which a <base> element may have moved elsewhere.
function resolve(input) {
  const text = input instanceof Request ? input.url : String(input);
  return parseUrl(text, globalThis.document?.baseURI ?? globalThis.location?.href);
}

function parseUrl(text, base) {
  try {
    return new URL(text, base);
  } catch {
    return null;
  }
}

function isElsewhere(url) {
  return url !== null && pageOrigin() !== null && url.origin !== pageOrigin();
}

function isPost(input, init) {
  return (init.method ?? input?.method ?? "GET").toUpperCase() === "POST";
}

// ChatKit's own requests are JSON text with a `type`; uploads are forms, files and streams.
function parseRequest(body) {
  const value = typeof body === "string" ? parseObject(body) : null;
  return typeof value?.type === "string" ? value : null;
}

// The most specific wins: what ChatKit has put there itself stays.
function withMetadata(body, metadata, pageContext) {
  const app = objectFrom(typeof metadata === "function" ? metadata : () => metadata);
  const page = objectFrom(pageContext);
  const theirs = isObject(body.metadata) ? body.metadata : null;
  return { ...body, metadata: { ...app, ...(page && { pageContext: page }), ...theirs } };
}

// Only what JSON can say, and only an object: the gateway refuses anything else.
function objectFrom(call) {
  const value = attempt(() => JSON.parse(JSON.stringify(call?.() ?? null)));
  return isObject(value) ? value : null;
}

// The page's own functions: what they break must not break the chat.
function attempt(call) {
  try {
    return call?.() ?? null;
  } catch (error) {
    report(error);
    return null;
  }
}

function report(error) {
  if (globalThis.reportError) globalThis.reportError(error);
  else console.error(error);
}

// Same status and headers, with a `message`: what ChatKit shows is `json.message || statusText`, and HTTP/2 has no
// status text.
async function readable(response) {
  const text = await readText(response);
  const body = parseObject(text);
  const problem = problemOf(response, body);
  const { status, statusText } = response;
  const headers = new Headers(response.headers);
  for (const name of ["content-length", "content-encoding"]) headers.delete(name); // the body is decoded by now
  if (textOf(body?.message)) return { problem, response: new Response(text, { status, statusText, headers }) };
  headers.set("content-type", "application/json");
  const said = JSON.stringify({ ...body, message: problem.message });
  return { problem, response: new Response(said, { status, statusText, headers }) };
}

// 421, since ChatKit sends a POST again after a 5xx, and a redirect will not go away.
function redirected(url) {
  const message = "The chat's address leads elsewhere, as sign-in pages do. Reload this page and sign in.";
  console.error(`gateway-kit: ${url} answered with a redirect, which is not followed: it would carry the request to ` +
    "another address. Check the path, https, and what stands in front of the gateway.");
  return new Response(JSON.stringify({ message, code: "redirected" }), {
    status: 421,
    headers: { "content-type": "application/json" },
  });
}

function isNetworkFailure(error) {
  return error?.name === "TypeError";
}

function explainFailure(url) {
  return `gateway-kit: no answer from ${url.origin} that this page (${pageOrigin()}) may read. Check: ` +
    `1. the route's allowed_origins at the gateway lists "${pageOrigin()}"; ` +
    `2. the gateway is up: ${url.origin}/livez; ` +
    "3. this page's Content-Security-Policy allows it in connect-src; " +
    "4. the cookie is SameSite=None; Secure where page and gateway are on different sites.";
}

function explainRefusal(url) {
  return `gateway-kit: ${url.origin} refuses this page. Check: the route's allowed_origins lists "${pageOrigin()}", ` +
    "or server.public_url is that origin.";
}

function explainMissing(url) {
  return `gateway-kit: no cookie came with the request to ${url.origin}. If somebody is signed in, check: the ` +
    "cookie's Domain; SameSite=None; Secure where page and gateway are on different sites; and that the browser sends cookies " +
    "to other sites at all. A path on the page's own origin that leads to the gateway needs none of this.";
}

// A console is read by people: each thing is said once, until things work again.
function onceUntilSuccess(level) {
  let said = false;
  const complain = (text) => {
    if (!said) console[level](text);
    said = true;
  };
  complain.succeeded = () => {
    said = false;
  };
  return complain;
}

// One event per signed-out period. An answer counts only if its request began in the period that is now: a late 401 of
// before signing in says nothing, and neither does a late success of before the session ended.
class SignInWatch {
  constructor(onSignedOut) {
    this.onSignedOut = onSignedOut;
    this.isOut = false;
    this.period = 0;
  }

  take(response, period, problem) {
    if (period !== this.period) return;
    if (response.ok && this.isOut) this.change(false);
    if (response.status !== 401 || this.isOut) return;
    this.change(true);
    const { message, code, status, requestId } = problem;
    announceSignedOut(this.onSignedOut, { message, code, status, requestId });
  }

  change(isOut) {
    this.isOut = isOut;
    this.period += 1;
  }
}

function announceSignedOut(onSignedOut, detail) {
  attempt(() => onSignedOut?.(detail));
  globalThis.window?.dispatchEvent(new CustomEvent("gateway:signed-out", { detail }));
}

// --- Who is signed in ---

/**
 * Ask `GET /session`: `{authenticated: true, user, issuer, expiresAt}`, or `{authenticated: false, reason, code}`.
 * Options: `gatewayOrigin`, `route`, `fetch`, `signal`. Throws GatewayError where nobody can tell.
 */
export async function session(options = {}) {
  const url = sessionUrl(options);
  const send = options.fetch ?? globalThis.fetch;
  const response = await askSession(send, url, options);
  if (response.type === "opaqueredirect") {
    throw new GatewayError(`${url} answers with a redirect.`, { code: "redirected" });
  }
  const body = parseObject(await readText(response));
  if (response.status === 401) {
    const problem = problemOf(response, body);
    return { authenticated: false, reason: problem.message, code: problem.code };
  }
  if (!response.ok) throw problemOf(response, body);
  if (body?.authenticated !== true) {
    throw new GatewayError(`${url} is not the gateway's: check the rewrite or proxy.`, {
      status: response.status,
      code: "not_the_gateway",
    });
  }
  return { authenticated: true, user: body.user, issuer: body.issuer, expiresAt: body.expires_at };
}

function sessionUrl({ gatewayOrigin, route }) {
  const base = gatewayOrigin ? originOf(gatewayOrigin) : "";
  return `${base}/session${route ? `?route=${encodeURIComponent(route)}` : ""}`;
}

async function askSession(send, url, { signal }) {
  const elsewhere = isElsewhere(resolve(url));
  const credentials = elsewhere ? "include" : "same-origin";
  try {
    return await send(url, { credentials, cache: "no-store", redirect: "manual", signal });
  } catch (error) {
    if (!isNetworkFailure(error)) throw error;
    if (elsewhere) console.error(explainFailure(resolve(url)));
    throw new GatewayError("The chat service cannot be reached right now.", { code: "unreachable", cause: error });
  }
}

// --- What page is this ---

const MAX_HEADINGS = 5;
// Characters of one text: a selection may be a paragraph, a heading is a line.
const MAX_TEXT = { url: 2000, path: 1000, title: 300, description: 500, heading: 200, selection: 2000 };

/**
 * The page as the assistant may know it: `{url, path, title, description, headings, selection?}`; null without a
 * document. Options: `selection` (false), `document`, `maxBytes` (4096, of the JSON).
 */
export function getPageContext({ selection = false, document = globalThis.document, maxBytes = 4096 } = {}) {
  if (!document) return null;
  const url = publicUrl(document);
  const context = {
    url: cut(url.href, MAX_TEXT.url),
    path: cut(url.pathname, MAX_TEXT.path),
    title: cut(squeeze(document.title), MAX_TEXT.title),
    description: cut(squeeze(describe(document)), MAX_TEXT.description),
    headings: headingsOf(document),
  };
  if (selection) context.selection = cut(squeeze(selectedText(document)), MAX_TEXT.selection);
  return fit(context, maxBytes);
}

// A user name, a password or a fragment (where sign-in libraries put tokens) is nobody else's business.
// Of a document's own words for it, `location` is the one that no element on the page can take the place of.
function publicUrl(document) {
  const url = new URL(document.location?.href ?? document.URL);
  url.username = url.password = url.hash = "";
  return url;
}

function describe(document) {
  const found = document.querySelector('meta[name="description"], meta[property="og:description"]');
  return found?.content;
}

function headingsOf(document) {
  const place = document.querySelector("article") ?? document.querySelector("main") ?? document.body;
  const headings = [];
  for (const heading of place?.querySelectorAll("h1, h2, h3") ?? []) {
    const text = isShown(heading) ? cut(squeeze(heading.textContent), MAX_TEXT.heading) : "";
    if (text) headings.push(text);
    if (headings.length === MAX_HEADINGS) break;
  }
  return headings;
}

function isShown(element) {
  return element.checkVisibility?.() ?? true;
}

function selectedText(document) {
  return document.getSelection?.()?.toString();
}

// Not always text: an element named "title" takes the place of `document.title`.
function squeeze(value) {
  if (typeof value !== "string") return "";
  return value.slice(0, 20_000).replace(/\s+/g, " ").trim();
}

// Half a surrogate pair is no text, and the gateway refuses a body that has one.
function cut(text, length) {
  const whole = text.replace(/\p{Surrogate}/gu, "\ufffd");
  return whole.length <= length ? whole : `${whole.slice(0, length - 1).replace(/\p{Surrogate}/gu, "")}…`;
}

// The longest text gives way first; a URL loses its query before it is cut.
function fit(context, maxBytes) {
  while (sizeOf(context) > maxBytes) {
    const [holder, key] = longest(context);
    const text = holder[key];
    if (text.length < 2) return null;
    const query = holder === context && key === "url" ? text.indexOf("?") : -1;
    holder[key] = query > 0 ? text.slice(0, query) : cut(text, Math.floor(text.length * 0.75));
  }
  return context;
}

function longest(context) {
  const texts = [
    ...Object.keys(context).filter((key) => key !== "headings").map((key) => [context, key]),
    ...Object.keys(context.headings).map((key) => [context.headings, key]),
  ];
  return texts.reduce((best, next) => (next[0][next[1]].length > best[0][best[1]].length ? next : best));
}

function sizeOf(value) {
  return new TextEncoder().encode(JSON.stringify(value)).length;
}

// --- Is ChatKit there ---

const ELEMENT = "openai-chatkit";
const CHATKIT_SCRIPT = "https://cdn.platform.openai.com/deployments/chatkit/chatkit.js";
// Milliseconds between looks at a frame that may silently go away.
const LOOK = 250;

/**
 * Watch ChatKit arrive: `{state, error, promise, subscribe, stop}`; `state` is pending, ready or error. Options:
 * `timeout` (milliseconds), `script` (element or selector), `element` (the <openai-chatkit>, to watch its frame too).
 *
 * Ready means that the element is defined; with `element`, that its frame has loaded. What comes late still becomes
 * ready, and a frame that goes away within `timeout` of that, as it does after a refused domain key, becomes an error
 * (`chatkit_unmounted`; `chatkit_removed` for the element itself). A page that closes its chat stops the watch.
 */
export function whenChatKitReady(options = {}) {
  const watch = new ChatKitWatch(options);
  if (globalThis.document) watch.start();
  return watch;
}

/** Insert the official script, once, and watch it. Options: `src`, `integrity`, `nonce`, `timeout`, `element`. */
export function loadChatKit({ src = CHATKIT_SCRIPT, integrity, nonce, ...options } = {}) {
  if (!globalThis.document || customElements.get(ELEMENT)) return whenChatKitReady(options);
  const script = insertScript(src, integrity, nonce);
  const watch = whenChatKitReady({ ...options, script });
  if (!script.isConnected) document.head.append(script);
  return watch;
}

// A script that failed is no script: asking again loads it again.
const failedScripts = new WeakSet();

function insertScript(src, integrity, nonce) {
  const wanted = new URL(src, document.baseURI).href;
  const there = [...document.scripts].find((script) => script.src === wanted);
  if (there && !failedScripts.has(there)) return there;
  // It will not run again by itself.
  there?.remove();
  const script = document.createElement("script");
  script.addEventListener("error", () => failedScripts.add(script));
  script.async = true;
  if (integrity) Object.assign(script, { integrity, crossOrigin: "anonymous" });
  if (nonce) script.nonce = nonce;
  script.src = src;
  return script;
}

class ChatKitWatch {
  constructor({ timeout = 10_000, script = 'script[src*="chatkit.js"]', element = null }) {
    this.state = "pending";
    this.error = null;
    this.timeout = timeout;
    this.script = script;
    this.element = element;
    this.listeners = new Set();
    this.ending = new AbortController();
    this.promise = new Promise((fulfil, reject) => {
      this.settle = { fulfil, reject };
    });
    this.promise.catch(() => {}); // whoever subscribes need not await as well
  }

  /** Call `listener(watch)` at every change of state; returns what ends that. */
  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  stop() {
    this.ending.abort();
    this.listeners.clear();
    clearTimeout(this.timer);
    clearInterval(this.look);
  }

  start() {
    const { signal } = this.ending;
    // Errors of scripts do not bubble, and the script may be added later: so from above, on the way down.
    document.addEventListener("error", (event) => this.takeScriptError(event.target), { capture: true, signal });
    this.timer = setTimeout(() => this.takeTimeout(), this.timeout);
    if (this.element) this.watchElement(signal);
    else if (customElements.get(ELEMENT)) this.change("ready");
    else customElements.whenDefined(ELEMENT).then(() => this.change("ready"));
  }

  watchElement(signal) {
    this.element.addEventListener("chatkit.ready", () => this.change("ready"), { signal });
    this.element.addEventListener("chatkit.error", (event) => this.takeChatKitError(event.detail), { signal });
    if (frameOf(this.element)) this.change("ready");
  }

  takeScriptError(target) {
    if (this.state === "ready" || !this.isOurs(target)) return;
    failedScripts.add(target);
    this.fail("chatkit_script_failed", `The chat could not be loaded from ${target.src}. Check the connection, ` +
      "blockers, and that the page's Content-Security-Policy allows it in script-src.");
  }

  isOurs(target) {
    return typeof this.script === "string" ? target?.matches?.(this.script) : target === this.script;
  }

  takeTimeout() {
    if (this.state !== "pending") return;
    // Its error may have come before anybody listened.
    for (const script of document.scripts) if (this.isOurs(script)) failedScripts.add(script);
    this.fail("chatkit_timeout", `The chat did not load within ${this.timeout / 1000} seconds.`);
  }

  // After it is there ChatKit shows its errors itself.
  takeChatKitError(detail) {
    if (this.state === "ready") return;
    const said = detail?.error?.message ?? "it did not say why";
    this.fail("chatkit_error", `The chat could not start: ${said}.`);
  }

  watchFrame() {
    const end = Date.now() + this.timeout;
    let seen = frameOf(this.element) !== null;
    this.look = setInterval(() => {
      const frame = frameOf(this.element);
      seen ||= frame !== null;
      if (!this.element.isConnected) {
        this.fail("chatkit_removed", "The chat was taken off the page after it had loaded. If nothing on the page " +
          "does that, check the domain key.");
      } else if (seen && !frame) {
        this.fail("chatkit_unmounted", "The chat went away after it had loaded. Check the domain key: this page's " +
          `domain (${location.hostname}) must be on its allow-list.`);
      }
      if (Date.now() > end || this.state === "error") clearInterval(this.look);
    }, LOOK);
  }

  fail(code, message) {
    this.change("error", new GatewayError(message, { code }));
  }

  change(state, error = null) {
    if (this.ending.signal.aborted || (state === "ready" && this.state === "ready")) return;
    this.state = state;
    this.error = error;
    if (state === "ready") this.settle.fulfil();
    else this.settle.reject(error);
    clearInterval(this.look);
    if (state === "ready" && this.element) this.watchFrame();
    for (const listener of [...this.listeners]) attempt(() => listener(this));
  }
}

function frameOf(element) {
  return element.shadowRoot?.querySelector("iframe") ?? element.querySelector("iframe");
}

// --- Small things ---

/** The thread a user was in: `{get, set, clear}`. Two users of one browser never see each other's. */
export function rememberThread({ user, storage, key = "gateway.thread" }) {
  const name = `${key}:${JSON.stringify([user.issuer ?? null, user.id])}`;
  const store = sturdy(storage);
  return {
    get: () => store.get(name),
    set: (id) => (id === null || id === undefined ? store.remove(name) : store.set(name, String(id))),
    clear: () => store.remove(name),
  };
}

// Storage may be switched off or full, and even its name may throw: what it does not take, this page remembers itself.
function sturdy(storage) {
  const untaken = new Map();
  const use = (name, value, act) => {
    try {
      const answer = act(storage ?? globalThis.localStorage);
      untaken.delete(name);
      return answer;
    } catch {
      untaken.set(name, value);
      return value;
    }
  };
  return {
    get: (name) => (untaken.has(name) ? untaken.get(name) : use(name, null, (place) => place.getItem(name))),
    set: (name, value) => void use(name, value, (place) => place.setItem(name, value)),
    remove: (name) => void use(name, null, (place) => place.removeItem(name)),
  };
}

/**
 * The events of a ChatKit answer, as they come; heartbeats are passed over, an unfinished event at the end is dropped.
 * Throws GatewayError for an answer that is no event stream. Leaving the loop ends the request.
 */
export async function* readEvents(response) {
  if (!response.ok) throw await GatewayError.from(response);
  if (!/^text\/event-stream\b/i.test(response.headers.get("content-type") ?? "")) {
    throw new GatewayError("The answer is no event stream.", { status: response.status, code: "not_a_stream" });
  }
  const reader = response.body.getReader();
  const frames = new Frames();
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      for (const data of frames.take(decoder.decode(value, { stream: true }))) yield JSON.parse(data);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// Lines end with LF, CR or CRLF; an event's data lines are joined; a blank line ends it. HTML standard, section 9.2.6.
class Frames {
  constructor() {
    this.rest = "";
    this.data = [];
    this.afterReturn = false;
  }

  *take(text) {
    if (text === "") return;
    // The other half of a CRLF, whose CR has ended the line already.
    const fresh = this.afterReturn && text.startsWith("\n") ? text.slice(1) : text;
    this.afterReturn = text.endsWith("\r");
    const lines = (this.rest + fresh).split(/\r\n|\r|\n/);
    this.rest = lines.pop();
    for (const line of lines) {
      if (line === "" && this.data.length > 0) yield this.data.splice(0).join("\n");
      else if (line.startsWith("data:")) this.data.push(line.slice(line[5] === " " ? 6 : 5));
    }
  }
}

/**
 * A small button beside text that the user has selected; `onAsk(text)` is called with it. Options: `root` (only in
 * here), `label`, `maxLength` (characters). Returns `{stop}`. Style it by its class, `gateway-ask`.
 */
export function askAboutSelection({ onAsk, root, label = "Ask about selection", maxLength = 2000 }) {
  if (!globalThis.document) return { stop() {} };
  const ask = new AskButton({ onAsk, root: root ?? document.body, label, maxLength });
  ask.start();
  return { stop: () => ask.stop() };
}

class AskButton {
  constructor({ onAsk, root, label, maxLength }) {
    this.onAsk = onAsk;
    this.root = root;
    this.maxLength = maxLength;
    this.ending = new AbortController();
    this.button = buildAskButton(label);
    this.news = buildNews();
    this.said = `${label}: press Tab`;
  }

  start() {
    const { signal } = this.ending;
    document.body.append(this.news, this.button);
    // Not while the text is still being dragged over.
    document.addEventListener("selectionchange", () => this.isHeld || this.update(), { signal });
    document.addEventListener("pointerdown", (event) => this.hold(event), { signal });
    document.addEventListener("pointerup", () => this.release(), { signal });
    document.addEventListener("pointercancel", () => this.release(), { signal });
    document.addEventListener("keydown", (event) => this.takeKey(event), { signal });
    for (const name of ["scroll", "resize"]) {
      window.addEventListener(name, () => this.place(), { signal, capture: true, passive: true });
    }
    // The selection would be gone before the click.
    this.button.addEventListener("pointerdown", (event) => event.preventDefault(), { signal });
    this.button.addEventListener("mousedown", (event) => event.preventDefault(), { signal });
    this.button.addEventListener("click", () => this.ask(), { signal });
    this.update();
  }

  stop() {
    this.ending.abort();
    this.button.remove();
    this.news.remove();
  }

  hold(event) {
    this.isHeld = event.target !== this.button;
  }

  release() {
    this.isHeld = false;
    this.update();
  }

  update() {
    const range = this.range();
    if (range === null && document.activeElement === this.button) return;
    const isNew = range !== null && this.button.hidden;
    show(this.button, range !== null);
    if (isNew || range === null) this.news.textContent = isNew ? this.said : "";
    this.place();
  }

  range() {
    const selection = document.getSelection();
    if (!selection || selection.isCollapsed || selection.rangeCount === 0) return null;
    const range = selection.getRangeAt(0);
    if (!isWithin(range, this.root)) return null;
    this.text = cut(squeeze(selection.toString()), this.maxLength);
    return this.text === "" ? null : range;
  }

  place() {
    const range = this.button.hidden ? null : this.range();
    if (range === null) return;
    const box = range.getBoundingClientRect();
    const { offsetWidth, offsetHeight } = this.button;
    this.button.style.left = `${clamp(box.right - offsetWidth, 4, window.innerWidth - offsetWidth - 4)}px`;
    this.button.style.top = `${clamp(box.bottom + 4, 4, window.innerHeight - offsetHeight - 4)}px`;
  }

  // The button stands at the end of the document; from the text it is one Tab away, and Escape leads back.
  takeKey(event) {
    if (this.button.hidden) return;
    if (event.key === "Escape") this.hide();
    else if (event.key === "Tab" && !event.shiftKey && document.activeElement === document.body) {
      event.preventDefault();
      this.button.focus();
    }
  }

  hide() {
    this.button.blur();
    show(this.button, false);
    this.news.textContent = "";
  }

  ask() {
    const { text } = this;
    this.hide();
    document.getSelection()?.removeAllRanges();
    attempt(() => this.onAsk(text));
  }
}

// To the text: three clicks on a paragraph select as far as the start of whatever comes next.
function isWithin(range, root) {
  if (!root.isConnected || !range.intersectsNode(root)) return false;
  const [before, after] = [range.cloneRange(), range.cloneRange()];
  before.setEndBefore(root);
  after.setStartAfter(root);
  return `${before}${after}`.trim() === "";
}

// Style by property: a strict policy forbids style attributes and elements, and allows this.
function buildAskButton(label) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "gateway-ask";
  button.textContent = label;
  show(button, false);
  Object.assign(button.style, { position: "fixed", zIndex: "2147483647" });
  return button;
}

// By property too: a page's own `display` for its buttons outweighs the attribute.
function show(button, isShown) {
  button.hidden = !isShown;
  button.style.display = isShown ? "" : "none";
}

function buildNews() {
  const news = document.createElement("span");
  news.setAttribute("role", "status");
  // Heard, not seen.
  const unseen = { position: "absolute", width: "1px", height: "1px", overflow: "hidden", clipPath: "inset(50%)" };
  Object.assign(news.style, unseen);
  return news;
}

function clamp(value, low, high) {
  return Math.max(low, Math.min(value, high));
}
