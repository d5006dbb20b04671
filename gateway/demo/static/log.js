// The conversation on the page: one element for each item, by the id that the backend gave it.
//
// Everything from the network becomes text. Who has scrolled up to read is left where they are.

import { button, make } from "./dom.js";
import { drawQuestions } from "./forms.js";
import { drawWidget } from "./widgets.js";

// Pixels from the end within which a reader counts as being there.
const NEAR_END = 60;
const ASSISTANT = "Assistant";

export class Log {
  #items = new Map();

  // Handlers: onFeedback(itemId, kind), onAction(item, config), onAnswers(item, submission), onDownload(attachment).
  constructor(element, handlers) {
    this.element = element;
    this.handlers = handlers;
    this.userName = "You";
  }

  get isEmpty() {
    return this.element.childElementCount === 0;
  }

  clear() {
    this.#items.clear();
    this.element.replaceChildren();
  }

  // Draw an item, in place of what was there under its id. Kinds that are not for people are passed over.
  put(item, { isBusy = false, instead = null } = {}) {
    const drawn = this.#draw(item);
    if (!drawn) return;
    if (isBusy) drawn.setAttribute("aria-busy", "true"); // read out once, when it is complete
    const before = this.#items.get(item.id) ?? instead;
    this.#items.set(item.id, drawn);
    // Who has just pressed a button of a widget goes on from there with the keyboard.
    const pressed = before?.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    this.#keepPlace(() => (before ? before.replaceWith(drawn) : this.element.append(drawn)));
    if (pressed) drawn.querySelector(`[data-key="${CSS.escape(pressed)}"]`)?.focus();
  }

  append(itemId, text) {
    this.#keepPlace(() => this.#items.get(itemId)?.querySelector(".text").append(text));
  }

  remove(itemId) {
    this.#items.get(itemId)?.remove();
    this.#items.delete(itemId);
  }

  removeAfter(itemId) {
    while (this.#items.get(itemId)?.nextElementSibling) this.element.lastElementChild.remove();
  }

  // The user's message before the backend has it. Returns the element, to be replaced or taken back.
  addDraft(draft) {
    const message = this.#message("user", this.userName, draft.text, [
      ...quoteOf(draft.quote),
      ...this.#files(draft.files),
    ]);
    this.element.append(message);
    this.toEnd();
    return message;
  }

  addNote(author, text, kind = "note") {
    this.#keepPlace(() => this.element.append(this.#message(kind, author, text)));
  }

  addProblem(author, text, onRetry) {
    const again = onRetry && button("Try again", onRetry, { class: "again" });
    const problem = this.#message("problem", author, text, again ? [again] : []);
    this.element.append(problem);
    this.toEnd();
  }

  removeProblems() {
    for (const problem of this.element.querySelectorAll(".problem")) problem.remove();
  }

  // No answer is under way any more: what there is of it is what there will be.
  settle() {
    for (const message of this.element.querySelectorAll("[aria-busy]")) message.removeAttribute("aria-busy");
  }

  toEnd() {
    this.element.scrollTop = this.element.scrollHeight;
  }

  #keepPlace(change) {
    const { scrollHeight, scrollTop, clientHeight } = this.element;
    change();
    if (scrollHeight - scrollTop - clientHeight < NEAR_END) this.toEnd();
  }

  #draw(item) {
    switch (item.type) {
      case "user_message":
        return this.#message("user", this.userName, textOf(item), [
          ...quoteOf(item.quoted_text),
          ...this.#files(item.attachments ?? []),
        ]);
      case "assistant_message":
        return this.#message("assistant", ASSISTANT, textOf(item), [this.#opinions(item.id)]);
      case "widget":
        return this.#message("assistant", ASSISTANT, "", [
          drawWidget(item.widget, (config) => this.handlers.onAction(item, config)),
        ]);
      case "structured_input":
        return this.#message("assistant", ASSISTANT, "", [
          drawQuestions(item, (submission) => this.handlers.onAnswers(item, submission)),
        ]);
      case "client_tool_call":
        return this.#message("note", ASSISTANT, `asked your browser: ${item.name}`);
      case "task":
        return this.#message("note", ASSISTANT, item.task.title ?? item.task.content ?? item.task.type);
      case "workflow":
        return this.#message("note", ASSISTANT, item.workflow.tasks.map((task) => task.title ?? task.type).join("\n"));
      case "generated_image":
        return (
          item.image &&
          this.#message("assistant", ASSISTANT, "", [make("img", { src: item.image.url, alt: "generated" })])
        );
    }
    return null;
  }

  #message(kind, author, text, extras = []) {
    return make(
      "div",
      { class: `message ${kind}`, role: "group", "aria-label": author },
      make("span", { class: "author", "aria-hidden": "true" }, author),
      make("div", { class: "text" }, text),
      ...extras,
    );
  }

  #opinions(itemId) {
    const rate = (kind) => (event) => {
      for (const other of event.currentTarget.parentElement.children) {
        other.setAttribute("aria-pressed", String(other === event.currentTarget));
      }
      this.handlers.onFeedback(itemId, kind);
    };
    const opinion = (label, kind) => button(label, rate(kind), { class: "quiet", "aria-pressed": "false" });
    return make("div", { class: "opinions" }, opinion("Helpful", "positive"), opinion("Not helpful", "negative"));
  }

  #files(attachments) {
    if (!attachments.length) return [];
    return [
      make("ul", { class: "files" }, ...attachments.map((attachment) => make("li", {}, ...this.#file(attachment)))),
    ];
  }

  #file(attachment) {
    const picture = attachment.preview_url && make("img", { src: attachment.preview_url, alt: "" });
    const label = `Download ${attachment.name}`;
    return [
      picture,
      button(attachment.name, () => this.handlers.onDownload(attachment), { "aria-label": label }),
    ].filter(Boolean);
  }
}

function textOf(item) {
  return item.content.map((part) => part.text ?? "").join("");
}

function quoteOf(text) {
  return text ? [make("blockquote", {}, text)] : [];
}
