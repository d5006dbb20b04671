// What the agent can ask of this page: effects, which nobody waits for, and tools, whose result it is sent.

import { CONTEXT_EFFECT, showSeen } from "./inspector.js";

const EFFECTS = {
  [CONTEXT_EFFECT]: showSeen,
  set_theme: ({ theme }) => {
    document.documentElement.dataset.theme = theme === "dark" ? "dark" : "light";
  },
};

const TOOLS = {
  get_time_zone: () => ({
    time_zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    local_time: new Date().toString(),
  }),
};

const ACTIONS = {
  "checklist.copy": async ({ text }) => {
    await navigator.clipboard.writeText(text);
    return "Copied.";
  },
};

// An effect of an unknown name is somebody else's.
export function applyEffect({ name, data }) {
  if (Object.hasOwn(EFFECTS, name)) EFFECTS[name](data);
}

// What a tool cannot do is its result too: the agent then knows, and the conversation goes on.
export async function runTool({ name, arguments: given }) {
  if (!Object.hasOwn(TOOLS, name)) return { error: `this page has no tool ${name}` };
  try {
    return await TOOLS[name](given);
  } catch (error) {
    return { error: error.message };
  }
}

// A button that a widget leaves to the page. Returns what to say about it.
export async function runAction({ type, payload }) {
  if (!Object.hasOwn(ACTIONS, type)) return `This page cannot do ${type}.`;
  return ACTIONS[type](payload);
}
