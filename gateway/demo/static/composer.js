// What is being written: the text, a quotation, the files. It survives a reload, and signing in again.

import { call, upload } from "./api.js";
import { $, button, make } from "./dom.js";

const EMPTY = { text: "", quote: null, files: [] };

export class Composer {
  #quote = null;
  #files = []; // {name, attachment, stop}; attachment is null while it is being uploaded
  #memory;

  // `onSend(draft)` for a message that may go; `onProblem(error)` for an upload that failed.
  constructor({ onSend, onProblem }) {
    this.onSend = onSend;
    this.onProblem = onProblem;
    this.mayNot = () => null;
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    $("text").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.submit();
    });
    $("attach").addEventListener("click", () => $("file").click());
    $("file").addEventListener("change", () => {
      for (const file of $("file").files) this.#upload(file);
      $("file").value = "";
    });
  }

  get draft() {
    const files = this.#files.map((entry) => entry.attachment).filter(Boolean);
    return { text: $("text").value.trim(), quote: this.#quote, files };
  }

  // Nothing is sent while something is in the way: `mayNot` says what.
  submit() {
    const { draft } = this;
    if (!draft.text && draft.files.length === 0) return;
    if (!this.#isFree(this.#isUploading() ? "A file is still being uploaded." : null)) return;
    this.#fill(EMPTY);
    this.onSend(draft);
  }

  // One of the suggestions: what is being written stays.
  suggest(text) {
    if (this.#isFree()) this.onSend({ ...EMPTY, text });
  }

  #isFree(reason = null) {
    const found = this.mayNot() ?? reason;
    if (found) $("status").textContent = found;
    return found === null;
  }

  quote(text) {
    this.#quote = text;
    this.#draw();
    $("text").focus();
  }

  // A message that did not reach the backend: before whatever has been written since.
  giveBack(draft) {
    const now = this.draft;
    this.#fill({
      text: [draft.text, now.text].filter(Boolean).join("\n"),
      quote: now.quote ?? draft.quote,
      files: [...draft.files, ...now.files],
    });
  }

  // Keep the draft in this tab, for this user. A name that is nobody's forgets what was kept.
  remember(name) {
    this.#memory = `demo.draft.${name}`;
    const kept = attempt(() => JSON.parse(sessionStorage.getItem(this.#memory)));
    if (kept) this.giveBack({ ...EMPTY, ...kept });
    window.addEventListener("pagehide", () => this.#keep());
  }

  forget() {
    attempt(() => sessionStorage.removeItem(this.#memory));
    this.#memory = null;
  }

  #keep() {
    const { draft } = this;
    if (!this.#memory) return;
    const isEmpty = !draft.text && !draft.quote && draft.files.length === 0;
    if (isEmpty) attempt(() => sessionStorage.removeItem(this.#memory));
    else attempt(() => sessionStorage.setItem(this.#memory, JSON.stringify(draft)));
  }

  #isUploading() {
    return this.#files.some((entry) => entry.attachment === null);
  }

  #fill({ text, quote, files }) {
    $("text").value = text;
    this.#quote = quote;
    const uploading = this.#files.filter((entry) => entry.attachment === null);
    this.#files = [...files.map((attachment) => ({ name: attachment.name, attachment })), ...uploading];
    this.#draw();
  }

  async #upload(file) {
    const ending = new AbortController();
    const entry = { name: file.name, attachment: null, stop: () => ending.abort() };
    this.#files.push(entry);
    this.#draw();
    try {
      entry.attachment = await upload(file, ending.signal);
    } catch (error) {
      this.#files = this.#files.filter((other) => other !== entry);
      if (error.name !== "AbortError") this.onProblem(file.name, error);
    }
    this.#draw();
  }

  #remove(entry) {
    entry.stop?.();
    this.#files = this.#files.filter((other) => other !== entry);
    // The backend sweeps away what was never sent; asking is only quicker.
    if (entry.attachment) call("attachments.delete", { attachment_id: entry.attachment.id }).catch(() => {});
    this.#draw();
    $("text").focus();
  }

  #draw() {
    const quote = this.#quote && chip(`“${this.#quote}”`, "Remove the quotation", () => this.quote(null));
    const files = this.#files.map((entry) =>
      chip(entry.attachment ? entry.name : `${entry.name} (uploading…)`, `Remove ${entry.name}`, () =>
        this.#remove(entry),
      ),
    );
    $("chips").replaceChildren(...[quote, ...files].filter(Boolean));
  }
}

function chip(text, label, onRemove) {
  return make(
    "li",
    {},
    make("span", {}, text),
    button("×", onRemove, { class: "quiet", "aria-label": label, title: label }),
  );
}

// Storage may be switched off, and may hold anything: then nothing is kept.
function attempt(act) {
  try {
    return act();
  } catch {
    return null;
  }
}
