"use client";

import { ChatKit, useChatKit } from "@openai/chatkit-react";
import { useCallback, useEffect, useRef, useState } from "react";
import { askAboutSelection } from "../lib/gateway-kit/gateway-kit.js";
import { useGatewayChatKit, type GatewayChat } from "../lib/gateway-kit/use-gateway-chatkit";
import { useColorScheme } from "../lib/color-scheme";
import { keepUnsent, takeUnsent } from "../lib/unsent";
import { Status } from "./status";

// ChatKit checks the page's domain against it, except on localhost.
const DOMAIN_KEY = process.env.NEXT_PUBLIC_CHATKIT_DOMAIN_KEY ?? "local-dev";

const PROMPTS = ["Which page am I on?", "What time is it here?", "Make a checklist: milk, bread, tea"];

/** The chat beside the page: shown to who is signed in, told who that is by the gateway. */
export function Assistant() {
  const [colorScheme, setColorScheme] = useColorScheme();
  const chat = useGatewayChatKit({
    domainKey: DOMAIN_KEY,
    metadata: { app: "orders" },
    theme: { colorScheme },
    startScreen: { greeting: "Ask about your orders", prompts: PROMPTS.map((text) => ({ label: text, prompt: text })) },
    threadItemActions: { feedback: true, retry: true },
    onEffect: ({ name, data }) => {
      if (name === "set_theme") setColorScheme(data?.theme === "dark" ? "dark" : "light");
    },
    onClientTool: ({ name }) => (name === "get_time_zone" ? timeZone() : { error: `this page has no tool ${name}` }),
  });
  const isOpen = useOpenChat(chat);
  useSignInElsewhere(chat);

  return (
    <aside aria-label="Assistant">
      <Status chat={chat} />
      {isOpen && chat.session && <Chat key={userOf(chat)} chat={chat} user={userOf(chat)} />}
    </aside>
  );
}

function Chat({ chat, user }: { chat: GatewayChat; user: string }) {
  const isReady = useRef(false);
  const { control, setComposerValue, focusComposer } = useChatKit({
    ...withUnsentKept(chat.options, user),
    onReady: () => {
      isReady.current = true;
      restore();
    },
  });

  const restore = useCallback(() => {
    const text = isReady.current ? takeUnsent(user) : null;
    if (text) void setComposerValue({ text });
  }, [setComposerValue, user]);

  // Signed in again, in another tab, while the chat stood here.
  useEffect(() => {
    if (chat.state === "ready") restore();
  }, [chat.state, restore]);

  useEffect(() => {
    const onAsk = async (text: string) => {
      await setComposerValue({ reply: text });
      await focusComposer();
    };
    const asking = askAboutSelection({ root: document.querySelector("main") ?? undefined, onAsk: (text) => void onAsk(text) });
    return () => asking.stop();
  }, [setComposerValue, focusComposer]);

  return <ChatKit control={control} className="chat" />;
}

/** Once it was there it stays: an expired session, or a gateway that cannot be asked, takes nobody's text away. */
function useOpenChat(chat: GatewayChat): boolean {
  const [isOpen, setOpen] = useState(false);
  useEffect(() => {
    if (chat.state === "ready") setOpen(true);
  }, [chat.state]);
  return isOpen;
}

/** Who comes back to this tab may have signed in at another one. */
function useSignInElsewhere({ state, retry }: GatewayChat) {
  useEffect(() => {
    if (state !== "expired" && state !== "signed-out") return;
    const look = () => document.visibilityState === "visible" && retry();
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }, [state, retry]);
}

function withUnsentKept(options: GatewayChat["options"], user: string): GatewayChat["options"] {
  const { api } = options;
  return "url" in api && api.fetch ? { ...options, api: { ...api, fetch: keepUnsent(api.fetch, user) } } : options;
}

function userOf({ session }: GatewayChat): string {
  return JSON.stringify([session?.issuer, session?.user.id]);
}

function timeZone() {
  return { time_zone: Intl.DateTimeFormat().resolvedOptions().timeZone, local_time: new Date().toString() };
}
