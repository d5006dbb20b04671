// The demo page: a ChatKit client in one file, so that what goes over the wire can be read here.
//
// It never sees the token: the browser sends the httpOnly cookie, the gateway says at /session who that is. Everything
// from the network is put on the page as text, never as markup.

const $ = (id) => document.getElementById(id);
const CHAT_URL = "/chatkit";

let person = null;
let threadId = null;
let running = null; // the AbortController of the answer in flight
let question = null; // the last one: its text, and its item's id once the backend has stored it

// --- Talking to the gateway ---

class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function call(type, params, signal) {
  const response = await fetch(CHAT_URL, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ type, params, metadata: { pageContext: pageContext() } }),
    signal,
  });
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  return new Refusal(response.status, problem.message || response.statusText || `Status ${response.status}`);
}

function pageContext() {
  const headings = [...document.querySelectorAll("h1, h2")].filter((heading) => heading.checkVisibility());
  return {
    url: location.href,
    path: location.pathname,
    title: document.title,
    headings: headings.map((heading) => heading.textContent.trim()),
  };
}

function userInput(text) {
  return { content: [{ type: "input_text", text }], attachments: [], inference_options: {} };
}

// Frames are `data: <json>` and a blank line; lines that start with a colon are heartbeats.
async function* readEvents(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data:")) yield JSON.parse(line.slice(5));
    }
  }
}

// --- The conversation on the page ---

function addMessage(kind, author, text = "") {
  const message = document.createElement("div");
  const by = document.createElement("span");
  const body = document.createElement("span");
  message.className = `message ${kind}`;
  by.className = "author";
  by.textContent = author;
  body.className = "text";
  body.textContent = text;
  message.append(by, body);
  const atEnd = isAtEnd();
  $("log").append(message);
  if (atEnd) scrollToEnd();
  return message;
}

// Who has scrolled up to read is left where they are.
function isAtEnd() {
  const log = $("log");
  return log.scrollHeight - log.scrollTop - log.clientHeight < 40;
}

function scrollToEnd() {
  $("log").scrollTop = $("log").scrollHeight;
}

function textOf(item) {
  return item.content.map((part) => part.text ?? "").join("");
}

function showItem(item) {
  if (item.type === "user_message") addMessage("user", person.name, textOf(item));
  if (item.type === "assistant_message") addMessage("assistant", "Assistant", textOf(item));
}

// One answer in flight: what each event means for the page.
class Answer {
  constructor() {
    this.messages = new Map();
  }

  message(id) {
    if (!this.messages.has(id)) {
      const message = addMessage("assistant", "Assistant");
      message.setAttribute("aria-busy", "true"); // read out once, when it is complete
      this.messages.set(id, message);
    }
    return this.messages.get(id);
  }

  setText(id, text) {
    const atEnd = isAtEnd();
    this.message(id).querySelector(".text").textContent = text;
    if (atEnd) scrollToEnd();
  }

  appendText(id, delta) {
    const atEnd = isAtEnd();
    this.message(id).querySelector(".text").append(delta);
    if (atEnd) scrollToEnd();
  }

  take(event) {
    switch (event.type) {
      case "thread.created":
        return rememberThread(event.thread.id);
      case "thread.item.updated":
        if (event.update.type === "assistant_message.content_part.text_delta") {
          this.appendText(event.item_id, event.update.delta);
        }
        return;
      case "thread.item.done":
      case "thread.item.replaced":
        if (event.item.type === "user_message") question.itemId = event.item.id;
        if (event.item.type !== "assistant_message") return;
        this.setText(event.item.id, textOf(event.item));
        return this.message(event.item.id).removeAttribute("aria-busy");
      case "thread.item.removed":
        this.messages.get(event.item_id)?.remove();
        return;
      case "progress_update":
        $("status").textContent = event.text;
        return;
      case "notice":
        addMessage("note", event.title || "Notice", event.message);
        return;
      case "error":
        addProblem("Error", event.message || "The answer failed.", event.allow_retry);
    }
  }

  end() {
    for (const message of this.messages.values()) message.removeAttribute("aria-busy");
  }

  remove() {
    for (const message of this.messages.values()) message.remove();
  }
}

async function ask(text) {
  addMessage("user", person.name, text);
  scrollToEnd();
  question = { text, itemId: null };
  await stream(...questionRequest());
}

function questionRequest() {
  const input = userInput(question.text);
  if (!threadId) return ["threads.create", { input }];
  return ["threads.add_user_message", { thread_id: threadId, input }];
}

// What the backend has stored is answered anew, in place of what came before; what never reached it is sent again.
async function retry() {
  question.answer.remove();
  if (!question.itemId) return stream(...questionRequest());
  return stream("threads.retry_after_item", { thread_id: threadId, item_id: question.itemId });
}

async function stream(type, params) {
  const answer = new Answer();
  question.answer = answer;
  running = new AbortController();
  showRunning(true);
  try {
    const response = await call(type, params, running.signal);
    for await (const event of readEvents(response)) answer.take(event);
  } catch (error) {
    showFailure(error);
  } finally {
    answer.end();
    running = null;
    showRunning(false);
  }
}

function addProblem(author, text, canRetry) {
  const problem = addMessage("problem", author, text);
  if (!canRetry) return;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Try again";
  button.addEventListener("click", () => {
    if (running) return;
    problem.remove();
    retry();
  });
  problem.append(button);
  button.scrollIntoView({ block: "nearest" });
}

function showFailure(error) {
  if (error.name === "AbortError") return addMessage("note", "Stopped");
  if (error.status === 401) return showSignedOut(error.message);
  addProblem(error.status ? `Refused (${error.status})` : "Connection lost", error.message, !error.status);
}

function showRunning(isRunning) {
  $("stop").hidden = !isRunning;
  $("send").disabled = isRunning;
  $("new").disabled = isRunning;
  $("suggestions").hidden = isRunning || $("log").childElementCount > 0;
  $("status").textContent = isRunning ? "Answering…" : "";
  if (!isRunning) $("text").focus();
}

// --- Remembering the thread ---

const threadKey = () => `demo.thread.${person.id}`;

function rememberThread(id) {
  threadId = id;
  localStorage.setItem(threadKey(), id);
}

function forgetThread() {
  threadId = null;
  localStorage.removeItem(threadKey());
}

async function restoreThread() {
  threadId = localStorage.getItem(threadKey());
  if (!threadId) return;
  try {
    const thread = await (await call("threads.get_by_id", { thread_id: threadId })).json();
    await showItems(thread.items);
  } catch (error) {
    if (error.status === 404) return forgetThread();
    showFailure(error);
  }
}

async function showItems(page) {
  for (;;) {
    page.data.forEach(showItem);
    if (!page.has_more || !page.after) return scrollToEnd();
    const params = { thread_id: threadId, after: page.after, order: "asc", limit: 100 };
    page = await (await call("items.list", params)).json();
  }
}

// --- Signing in and out ---

function showSignedOut(reason = "") {
  $("status").textContent = reason;
  $("welcome").hidden = false;
  for (const id of ["chat", "who", "sign-out"]) $(id).hidden = true;
}

async function showSignedIn() {
  $("status").textContent = "";
  $("name").textContent = person.name;
  $("email").textContent = person.email ?? "";
  for (const id of ["chat", "who", "sign-out"]) $(id).hidden = false;
  await restoreThread();
  showRunning(false);
}

function connect() {
  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = $("text").value.trim();
    if (!text || running) return;
    $("text").value = "";
    ask(text);
  });
  $("text").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    $("composer").requestSubmit();
  });
  $("stop").addEventListener("click", () => running?.abort());
  $("new").addEventListener("click", () => {
    forgetThread();
    $("log").replaceChildren();
    showRunning(false);
  });
  for (const button of $("suggestions").querySelectorAll("button")) {
    button.addEventListener("click", () => ask(button.textContent));
  }
}

async function start() {
  const config = await (await fetch("/demo/config.json")).json();
  // The cookie belongs to the public name: under another one, such as localhost, signing in would lead nowhere.
  if (config.origin !== location.origin) return location.replace(config.origin + location.pathname);
  const returnTo = config.origin + location.pathname;
  $("sign-in").href = `${config.login_url}?return_to=${encodeURIComponent(returnTo)}`;
  $("sign-out").action = config.logout_url;
  $("sign-out").elements.return_to.value = returnTo;
  connect();
  const response = await fetch("/session");
  if (response.status === 401) return showSignedOut();
  if (!response.ok) throw await refusal(response);
  person = (await response.json()).user;
  await showSignedIn();
}

start().catch((error) => {
  $("status").textContent = error.message;
});
