// The list of conversations, newest first; each can be opened, renamed and deleted.

import { call } from "./api.js";
import { $, button, make } from "./dom.js";

const PAGE = 30;

export class Threads {
  #threads = new Map();
  #after = null;
  #editing = null;

  // Handlers: onOpen(threadId), onDeleted(threadId), onProblem(error).
  constructor(handlers) {
    this.handlers = handlers;
    this.openId = null;
    $("more").addEventListener("click", () => this.load(this.#after).catch(handlers.onProblem));
    $("thread-dialog").addEventListener("close", () =>
      this.#finish($("thread-dialog").returnValue).catch(handlers.onProblem),
    );
  }

  async load(after = null) {
    const page = await call("threads.list", { limit: PAGE, order: "desc", ...(after ? { after } : {}) });
    for (const thread of page.data) this.#threads.set(thread.id, thread);
    this.#after = page.has_more ? page.after : null;
    this.#draw();
  }

  // One that is new, or has a better title now.
  put(thread) {
    const others = [...this.#threads].filter(([id]) => id !== thread.id);
    const isNew = !this.#threads.has(thread.id);
    if (isNew) this.#threads = new Map([[thread.id, thread], ...others]);
    else this.#threads.set(thread.id, thread);
    this.#draw();
  }

  markOpen(threadId) {
    this.openId = threadId;
    this.#draw();
  }

  #draw() {
    // Drawn anew under the reader's hands: who was on a button stays on it.
    const focused = document.activeElement?.dataset?.focus;
    $("threads").replaceChildren(...[...this.#threads.values()].map((thread) => this.#row(thread)));
    $("no-threads").hidden = this.#threads.size > 0;
    $("more").hidden = this.#after === null;
    if (focused) document.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  }

  #row(thread) {
    const title = titleOf(thread);
    const isOpen = thread.id === this.openId;
    return make(
      "li",
      { class: isOpen ? "open" : "" },
      button(title, () => this.handlers.onOpen(thread.id), {
        class: "thread",
        "aria-current": isOpen && "true",
        "data-focus": `open ${thread.id}`,
      }),
      button("⋯", () => this.#edit(thread), {
        class: "quiet",
        "aria-label": `Rename or delete: ${title}`,
        title: "Rename or delete",
        "data-focus": `edit ${thread.id}`,
      }),
    );
  }

  #edit(thread) {
    this.#editing = thread;
    $("thread-title").value = titleOf(thread);
    $("thread-dialog").returnValue = "";
    $("thread-dialog").showModal();
  }

  async #finish(choice) {
    const thread = this.#editing;
    if (choice === "rename" && $("thread-title").value.trim()) {
      this.put(await call("threads.update", { thread_id: thread.id, title: $("thread-title").value.trim() }));
    }
    if (choice === "delete") {
      await call("threads.delete", { thread_id: thread.id });
      this.#threads.delete(thread.id);
      this.#draw();
      this.handlers.onDeleted(thread.id);
    }
  }
}

function titleOf(thread) {
  return thread.title || "New conversation";
}
