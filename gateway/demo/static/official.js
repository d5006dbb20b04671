// The official ChatKit element behind the gateway: all that a page has to do with the kit.

import { createChatKitFetch, loadChatKit, rememberThread, session } from "/kit/1.0.0/gateway-kit.js";
import { $ } from "./dom.js";
import { applyEffect, runAction, runTool } from "./page-tools.js";

async function start() {
  const config = await (await fetch("/demo/config.json")).json();
  const signIn = `${config.login_url}?return_to=${encodeURIComponent(config.origin + location.pathname)}`;
  document.querySelector("a.sign-in").href = signIn;
  const who = await session();
  if (!who.authenticated) return showSignedOut();
  window.addEventListener("gateway:signed-out", showSignedOut);
  $("again")
    .querySelector("button")
    .addEventListener("click", () => load(who));
  load(who);
}

function load(who) {
  $("again").hidden = true;
  const watch = loadChatKit({ timeout: 15_000 });
  watch.subscribe(() => showState(watch, who));
  showState(watch, who);
}

function showState({ state, error }, who) {
  $("status").textContent = { pending: "Loading ChatKit…", ready: "", error: error?.message }[state];
  $("again").hidden = state !== "error";
  if (state === "ready" && !$("place").hasChildNodes()) $("place").append(build(who));
}

function build({ user, issuer }) {
  const memory = rememberThread({ user: { id: user.id, issuer }, key: "demo.thread" });
  const element = document.createElement("openai-chatkit");
  element.setOptions({
    // The domain key is asked for, and not looked at on this machine.
    api: {
      url: "/chatkit",
      domainKey: "local-dev",
      fetch: createChatKitFetch(),
      uploadStrategy: { type: "two_phase" },
    },
    theme: matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light",
    initialThread: memory.get(),
    composer: { attachments: { enabled: true } },
    history: { enabled: true, showDelete: true, showRename: true },
    threadItemActions: { feedback: true, retry: true },
    onClientTool: ({ name, params }) => runTool({ name, arguments: params }),
    widgets: { onAction: async (action) => void (await runAction(action)) },
  });
  element.addEventListener("chatkit.thread.change", ({ detail }) => memory.set(detail.threadId));
  element.addEventListener("chatkit.effect", ({ detail }) => detail.name === "set_theme" && applyEffect(detail));
  return element;
}

function showSignedOut() {
  $("status").textContent = "";
  $("welcome").hidden = false;
}

start().catch((error) => {
  $("status").textContent = error.message;
});
