// How the kit and the hook may be used, and how not: each line marked so must be an error, or the check fails.

import { ChatKit, useChatKit, type ChatKitOptions } from "@openai/chatkit-react";
import {
  askAboutSelection,
  createChatKitFetch,
  GatewayError,
  getPageContext,
  KIT_VERSION,
  loadChatKit,
  readEvents,
  rememberThread,
  session,
  whenChatKitReady,
} from "../lib/gateway-kit/gateway-kit.js";
import { useGatewayChatKit, type GatewayChatState } from "../lib/gateway-kit/use-gateway-chatkit";

// --- A page without React ---

export async function page(chat: import("@openai/chatkit").OpenAIChatKit): Promise<string> {
  const who = await session({ gatewayOrigin: "https://chat.example.com", route: "support" });
  // @ts-expect-error nobody's name before it is known that somebody is signed in
  who.user.name;
  if (!who.authenticated) return who.reason;

  const thread = rememberThread({ user: { id: who.user.id, issuer: who.issuer }, storage: sessionStorage });
  const options: ChatKitOptions = {
    initialThread: thread.get(),
    api: {
      url: "/chatkit",
      domainKey: "local-dev",
      fetch: createChatKitFetch({
        origins: ["https://files.example.com"],
        metadata: () => ({ app: "shop" }),
        pageContext: () => getPageContext({ selection: true, maxBytes: 2048 }),
        onSignedOut: ({ code, requestId }) => console.info(code, requestId),
      }),
    },
  };
  chat.setOptions(options);

  const watch = loadChatKit({ nonce: "…", timeout: 5000 });
  const end = watch.subscribe(({ state, error }) => console.info(state, error?.message));
  await watch.promise.finally(end);
  askAboutSelection({ onAsk: (text) => void chat.setComposerValue({ reply: text }) }).stop();
  return KIT_VERSION;
}

export async function terminal(response: Response): Promise<void> {
  try {
    for await (const event of readEvents(response)) console.info(event.type);
  } catch (error) {
    if (error instanceof GatewayError) console.error(error.status, error.code, error.requestId, error.retryAfter);
  }
}

window.addEventListener("gateway:signed-out", (event) => console.info(event.detail.message));
// @ts-expect-error false switches it off, true is nothing
createChatKitFetch({ pageContext: true });
// @ts-expect-error an option that is not there
createChatKitFetch({ gatewayorigin: "https://chat.example.com" });
// @ts-expect-error a thread belongs to a user
rememberThread({});
// @ts-expect-error not one of the three states
whenChatKitReady().state === "loaded";
// @ts-expect-error null on a server
getPageContext().title;

// --- A page with React ---

export function Chat() {
  const chat = useGatewayChatKit({
    domainKey: "local-dev",
    path: "/support/chatkit",
    theme: "dark",
    composer: { attachments: { enabled: true } },
    onThreadChange: ({ threadId }) => console.info(threadId),
  });
  const { control, sendUserMessage } = useChatKit(chat.options);
  const state: GatewayChatState = chat.state;
  if (state !== "ready") return <p>{chat.error?.message ?? chat.reason}</p>;
  return (
    <>
      <button onClick={() => void sendUserMessage({ text: "Hello" })}>{chat.session?.user.name}</button>
      <ChatKit control={control} />
    </>
  );
}

export function Wrong() {
  // @ts-expect-error the domain key is ChatKit's and cannot be left out
  useGatewayChatKit({});
  // @ts-expect-error the way to the backend is the hook's
  useGatewayChatKit({ domainKey: "local-dev", api: { url: "/chatkit", domainKey: "local-dev" } });
  // @ts-expect-error ChatKit knows light and dark
  useGatewayChatKit({ domainKey: "local-dev", theme: "blue" });
  return null;
}
