// A page on one origin, the gateway on another: put your two addresses, and your domain key, here and into index.html.

import { createChatKitFetch, rememberThread, session, whenChatKitReady } from "http://127.0.0.1:8080/kit/1.0.0/gateway-kit.js";

const GATEWAY = "http://127.0.0.1:8080";
const LOGIN = "http://127.0.0.1:8081/login";
// ChatKit checks the page's domain against it, except on localhost.
const DOMAIN_KEY = "local-dev";

const chat = document.getElementById("chat");
let watch = null;

async function start() {
  say("The chat is being loaded …");
  const who = await session({ gatewayOrigin: GATEWAY });
  if (!who.authenticated) return askToSignIn("Sign in to chat.");
  watch?.stop();
  watch = whenChatKitReady({ element: chat });
  // At every change: a frame may come late, or go away again after a domain key was refused.
  watch.subscribe(() => (watch.state === "ready" ? show(who.user) : complain(watch.error)));
  await customElements.whenDefined("openai-chatkit");
  chat.setOptions(optionsFor(who));
}

function optionsFor({ user, issuer }) {
  const thread = rememberThread({ user: { id: user.id, issuer } });
  chat.addEventListener("chatkit.thread.change", (event) => thread.set(event.detail.threadId));
  return {
    initialThread: thread.get(),
    theme: matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light",
    api: {
      url: `${GATEWAY}/chatkit`,
      domainKey: DOMAIN_KEY,
      fetch: createChatKitFetch({
        gatewayOrigin: GATEWAY,
        metadata: { app: "lighthouse" },
        // The chat stays where it is, with whatever has been typed.
        onSignedOut: () => askToSignIn("Your session has ended."),
      }),
    },
  };
}

// --- What stands above the chat ---

function show(user) {
  chat.hidden = false;
  say(user.name ?? user.id);
}

function askToSignIn(reason) {
  const link = document.createElement("a");
  link.href = `${LOGIN}?return_to=${encodeURIComponent(location.href)}`;
  link.textContent = "Sign in";
  say(`${reason} `, link);
}

function complain(error) {
  const button = document.createElement("button");
  button.textContent = "Try again";
  button.addEventListener("click", tryStart);
  say(`${error.message} `, button);
}

function say(...parts) {
  document.getElementById("status").replaceChildren(...parts);
}

function tryStart() {
  start().catch(complain);
}

tryStart();
