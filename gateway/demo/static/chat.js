// The demo page: a ChatKit client without a framework, so that what goes over the wire can be read here.
//
//     chat        this: who is signed in, and what belongs to what     api        requests, through the kit
//     turns       one answer at a time                                 log        items on the page
//     composer    what is being written                                widgets, forms    two kinds of items
//     threads     the list of conversations                            inspector  what the agent sees
//     page-tools  what the agent can ask of this page                  dom        elements
//
// It never sees the token: the browser sends the httpOnly cookie, the gateway says at /session who that is. Everything
// from the network is put on the page as text, never as markup.

import { askAboutSelection, rememberThread, session } from "/kit/1.0.0/gateway-kit.js";
import { call, downloadUrl, readPage } from "./api.js";
import { Composer } from "./composer.js";
import { $ } from "./dom.js";
import { showExpected } from "./inspector.js";
import { Log } from "./log.js";
import { runAction } from "./page-tools.js";
import { Threads } from "./threads.js";
import { Turns } from "./turns.js";

const BUSY = "Wait until the answer is finished, or stop it.";

let signedIn = null; // what /session said
let isExpired = false;
let opening = null; // a message that is sent meanwhile waits: it belongs into the conversation that is coming
let memory = null; // the conversation this user was in

const log = new Log($("log"), {
  onFeedback: guarded(rate),
  onAction: guarded(act),
  onAnswers: guarded((item, submission) => turns.submit(item, submission)),
  onDownload: guarded(async (attachment) => location.assign(await downloadUrl(attachment.id))),
});
const composer = new Composer({
  onSend: async (draft) => {
    await opening?.catch(() => {});
    await turns.send(draft);
  },
  onProblem: (name, error) => log.addProblem(`Not attached: ${name}`, error.message),
});
const turns = new Turns(log, {
  onChange: showState,
  onThread: noteThread,
  onProgress: (text) => ($("status").textContent = text || "Answering…"),
  onBusy: () => ($("status").textContent = BUSY),
  onReturned: (draft) => composer.giveBack(draft),
  onResend: () => composer.submit(),
});
const threads = new Threads({ onOpen: guarded(open), onDeleted: leave, onProblem: showProblem });

composer.mayNot = () => {
  if (isExpired) return "Sign in first; your message is kept.";
  return turns.isRunning ? BUSY : null;
};

// --- What is shown when ---

function showState() {
  const { isRunning } = turns;
  $("stop").hidden = !isRunning;
  $("send").hidden = isRunning;
  $("new").disabled = isRunning;
  $("threads-panel").classList.toggle("waiting", isRunning);
  $("suggestions").hidden = isRunning || !log.isEmpty;
  $("retry").hidden = !turns.canRetry;
  $("status").textContent = isRunning ? "Answering…" : "";
}

function showProblem(error) {
  if (error.status === 401) return; // said by the event of the kit
  $("status").textContent = error.message;
}

// A handler whose failure is told to the reader.
function guarded(work) {
  return async (...given) => {
    try {
      await work(...given);
    } catch (error) {
      showProblem(error);
    }
  };
}

// --- Conversations ---

function noteThread(thread) {
  memory.set(thread.id);
  threads.put(thread);
  threads.markOpen(thread.id);
}

function open(threadId) {
  if (turns.isRunning) {
    $("status").textContent = BUSY;
    return;
  }
  opening = show(threadId);
  return opening;
}

async function show(threadId) {
  showPanel(null);
  try {
    await turns.open(threadId);
  } catch (error) {
    if (error.status !== 404) throw error;
    memory.clear();
  } finally {
    showState();
  }
  if (threadId === null) memory.clear();
  threads.markOpen(turns.threadId);
  $("text").focus();
}

async function leave(threadId) {
  if (threadId !== turns.threadId) return $("new").focus();
  await turns.stop();
  await open(null);
}

async function rate(itemId, kind) {
  await call("items.feedback", { thread_id: turns.threadId, item_ids: [itemId], kind });
  $("status").textContent = "Thank you.";
}

async function act(item, action) {
  if (action.handler === "client") $("status").textContent = await runAction(action);
  else await turns.act(item, action);
}

// --- Signing in and out ---

function showSignedOut() {
  $("status").textContent = "";
  $("welcome").hidden = false;
}

// The conversation and the message stay where they are; the way to sign in is beside them.
function showExpired() {
  if (isExpired || !signedIn) return;
  isExpired = true;
  $("expired").hidden = false;
  $("sign-in-again").focus();
}

// Perhaps they have signed in again in another tab; perhaps as somebody else.
async function lookAgain() {
  if (!isExpired) return;
  const now = await session();
  if (!now.authenticated) return;
  if (nameOf(now) !== nameOf(signedIn)) return location.reload();
  await threads.load();
  isExpired = false;
  $("expired").hidden = true;
}

function nameOf({ issuer, user }) {
  return JSON.stringify([issuer, user.id]);
}

async function showSignedIn() {
  $("status").textContent = "";
  $("name").textContent = signedIn.user.name;
  log.userName = signedIn.user.name;
  for (const id of ["who", "sign-out", "chat", "composer", "panels"]) $(id).hidden = false;
  document.body.classList.add("signed-in");
  showExpected(signedIn, readPage());
  memory = rememberThread({ user: { id: signedIn.user.id, issuer: signedIn.issuer }, key: "demo.thread" });
  composer.remember(nameOf(signedIn));
  await Promise.all([threads.load(), memory.get() ? open(memory.get()) : showState()]);
  $("text").focus();
}

// --- The panels, which lie beside the conversation where there is room, and take its place where there is none ---

function showPanel(name) {
  document.body.dataset.panel = name ?? "";
  for (const button of document.querySelectorAll("[data-shows]")) {
    button.setAttribute("aria-expanded", String(button.dataset.shows === name));
  }
}

// The button that opened it is where the reader came from.
function closePanel() {
  const opener = document.querySelector('[data-shows][aria-expanded="true"]');
  showPanel(null);
  opener?.focus();
}

function connect() {
  $("stop").addEventListener("click", () => {
    turns.stop();
    $("text").focus();
  });
  $("retry").addEventListener("click", () => turns.retry());
  $("new").addEventListener(
    "click",
    guarded(() => open(null)),
  );
  $("sign-out").addEventListener("submit", () => composer.forget());
  for (const button of $("suggestions").querySelectorAll("button")) {
    button.addEventListener("click", () => composer.suggest(button.textContent));
  }
  for (const button of document.querySelectorAll("[data-shows]")) {
    button.addEventListener("click", () =>
      showPanel(button.getAttribute("aria-expanded") === "true" ? null : button.dataset.shows),
    );
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && document.body.dataset.panel) closePanel();
  });
  window.addEventListener("gateway:signed-out", showExpired);
  window.addEventListener("focus", guarded(lookAgain));
  askAboutSelection({ root: $("log"), label: "Ask about this", onAsk: (text) => composer.quote(text) });
}

async function start() {
  const config = await (await fetch("/demo/config.json")).json();
  // The cookie belongs to the public name: under another one, such as localhost, signing in would lead nowhere.
  if (config.origin !== location.origin) return location.replace(config.origin + location.pathname);
  const returnTo = config.origin + location.pathname;
  for (const link of document.querySelectorAll("a.sign-in")) {
    link.href = `${config.login_url}?return_to=${encodeURIComponent(returnTo)}`;
  }
  $("sign-out").action = config.logout_url;
  $("sign-out").elements.return_to.value = returnTo;
  connect();
  signedIn = await session();
  if (!signedIn.authenticated) return showSignedOut();
  await showSignedIn();
}

start().catch(showProblem);
