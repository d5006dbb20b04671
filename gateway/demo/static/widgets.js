// ChatKit widgets, as far as a plain page can draw them: boxes, texts, buttons, pictures. What it cannot draw is named,
// so that nobody takes half a widget for the whole.

import { button, make } from "./dom.js";

// Icons that carry a meaning; the others are ornament and left out.
const ICONS = { "check-circle-filled": "☑", "check-circle": "☑", check: "✓", "empty-circle": "☐" };
const BOXES = {
  Card: "card",
  ListView: "list",
  ListViewItem: "entry",
  Basic: "column",
  Box: "column",
  Col: "column",
  Row: "row",
  Form: "column",
  Transition: "column",
};
const TEXTS = { Title: "title", Text: "", Caption: "caption", Markdown: "", Label: "caption" };
const NOTHING = new Set(["Spacer", "Icon"]);

// `onAction(config)` is called for a pressed button, with the action that the widget gives it.
export function drawWidget(node, onAction) {
  if (node.type in BOXES) return drawBox(node, onAction);
  if (node.type in TEXTS) return make("p", { class: `w-text ${TEXTS[node.type]}` }, String(node.value ?? ""));
  if (node.type === "Button") return drawButton(node, onAction);
  if (node.type === "Badge") return make("span", { class: "w-badge" }, String(node.label ?? ""));
  if (node.type === "Divider") return make("hr");
  if (node.type === "Image") return make("img", { src: node.src, alt: node.alt ?? "" });
  if (NOTHING.has(node.type)) return null;
  return make("p", { class: "w-text caption" }, `(a ${node.type}, which this page cannot draw)`);
}

function drawBox(node, onAction) {
  const children = [].concat(node.children ?? []).map((child) => drawWidget(child, onAction));
  return make("div", { class: `w-${BOXES[node.type]}` }, ...children, ...drawCardActions(node, onAction));
}

// A card may end with two actions of its own, beside those of its buttons.
function drawCardActions(node, onAction) {
  return [node.cancel, node.confirm]
    .filter((entry) => entry?.label)
    .map((entry) => button(entry.label, () => onAction(entry.action)));
}

function drawButton(node, onAction) {
  const icon = ICONS[node.iconStart];
  const isTick = node.iconStart === "check-circle-filled" || node.iconStart === "empty-circle";
  const attributes = {
    class: [node.style === "primary" && "primary", node.block && "block"].filter(Boolean).join(" "),
    disabled: node.disabled === true,
    "aria-pressed": isTick && String(node.iconStart === "check-circle-filled"),
    "data-key": node.key,
  };
  const label = make("span", {}, String(node.label ?? ""));
  return button(
    icon ? make("span", {}, make("span", { "aria-hidden": "true" }, `${icon} `), label) : label,
    () => node.onClickAction && onAction(node.onClickAction),
    attributes,
  );
}
