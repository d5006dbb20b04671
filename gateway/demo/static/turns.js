// One turn after another in the open conversation: what is sent, and what each event of the answer means for the page.
//
// Rules: one answer at a time. A message that did not reach the backend goes back to whoever sent it, whatever the
// reason, so that none is lost. What the backend has is answered anew and never sent twice.

import { call, stream } from "./api.js";
import { applyEffect, runTool } from "./page-tools.js";

// Refusals that may pass: too slow, the conversation is busy, too many at once.
const WORTH_ANOTHER_TRY = new Set([408, 409, 429]);

export class Turns {
  #running = null; // the AbortController of the answer in flight
  #questionId = null; // the user's last message, by the backend's name for it
  #draft = null; // the one that is not known to have arrived: its element
  #toolCall = null;
  #isReturned = false; // the last message is in the composer again
  #ended = null;

  // Handlers: onChange(), onBusy(), onThread(thread), onProgress(text), onReturned(draft), onResend().
  constructor(log, handlers) {
    this.log = log;
    this.handlers = handlers;
    this.threadId = null;
  }

  get isRunning() {
    return this.#running !== null;
  }

  get canRetry() {
    return this.threadId !== null && this.#questionId !== null && !this.isRunning;
  }

  // Show a conversation; none is a new one.
  async open(threadId) {
    this.log.clear();
    this.threadId = null;
    this.#questionId = null;
    if (threadId === null) return;
    const thread = await call("threads.get_by_id", { thread_id: threadId });
    this.threadId = threadId;
    this.handlers.onThread(thread);
    for (let page = thread.items; ;) {
      for (const item of page.data) this.#put(item);
      if (!page.has_more || !page.after) break;
      page = await call("items.list", { thread_id: threadId, after: page.after, order: "asc", limit: 100 });
    }
    this.log.toEnd();
  }

  async send(draft) {
    const input = {
      content: [{ type: "input_text", text: draft.text }],
      attachments: draft.files.map((file) => file.id),
      quoted_text: draft.quote,
      inference_options: {},
    };
    this.#draft = this.log.addDraft(draft);
    if (this.threadId) await this.#run("threads.add_user_message", { thread_id: this.threadId, input });
    else await this.#run("threads.create", { input });
    if (!this.#draft) return;
    this.#draft.remove();
    this.#draft = null;
    this.#isReturned = true;
    this.handlers.onReturned(draft);
  }

  // Answer the user's last message anew; what followed it goes when the new answer begins.
  retry() {
    const itemId = this.#questionId;
    const params = { thread_id: this.threadId, item_id: itemId };
    return this.#run("threads.retry_after_item", params, () => this.log.removeAfter(itemId));
  }

  submit(item, submission) {
    return this.#run("threads.add_structured_input", { thread_id: this.threadId, item_id: item.id, input: submission });
  }

  // A button of a widget: an answer in a stream, or the widget as it looks now.
  async act(item, { type, payload, streaming }) {
    const params = { thread_id: this.threadId, item_id: item.id, action: { type, payload } };
    if (streaming !== false) return this.#run("threads.custom_action", params);
    const { updated_item: updated } = await call("threads.sync_custom_action", params);
    if (updated) this.#put(updated);
  }

  // Resolves when nothing of the answer is under way any more.
  async stop() {
    this.#running?.abort();
    await this.#ended;
  }

  #run(type, params, onBegun = null) {
    if (this.isRunning) return this.handlers.onBusy();
    this.#ended = this.#answer(type, params, onBegun);
    return this.#ended;
  }

  async #answer(type, params, onBegun) {
    this.#running = new AbortController();
    this.#toolCall = null;
    this.#isReturned = false;
    this.log.removeProblems();
    this.handlers.onChange();
    let hasBegun = false;
    // What nobody has begun on is asked for again; what broke off is answered anew.
    const again = () => {
      if (this.#isReturned) this.handlers.onResend();
      else if (hasBegun && this.canRetry) this.retry();
      else this.#run(type, params, onBegun);
    };
    try {
      for await (const event of stream(type, params, this.#running.signal)) {
        if (!hasBegun && event.type !== "error") {
          hasBegun = true;
          onBegun?.();
        }
        this.#take(event, again);
      }
    } catch (error) {
      this.#toolCall = null;
      this.#fail(error, again);
    } finally {
      this.#running = null;
      this.log.settle();
      this.handlers.onChange();
    }
    if (this.#toolCall) await this.#answerCall(this.#toolCall);
  }

  // The page was asked something: its answer begins the next turn.
  async #answerCall(toolCall) {
    const result = await runTool(toolCall);
    await this.#run("threads.add_client_tool_output", { thread_id: this.threadId, result });
  }

  #take(event, again) {
    switch (event.type) {
      case "thread.created":
        this.threadId = event.thread.id;
        return this.handlers.onThread(event.thread);
      case "thread.updated":
        return this.handlers.onThread(event.thread);
      case "thread.item.added":
        return this.log.put(event.item, { isBusy: true });
      case "thread.item.updated":
        return this.#update(event.item_id, event.update);
      case "thread.item.done":
      case "thread.item.replaced":
        return this.#put(event.item);
      case "thread.item.removed":
        return this.log.remove(event.item_id);
      case "progress_update":
        return this.handlers.onProgress(event.text);
      case "client_effect":
        return applyEffect(event);
      case "notice":
        return this.log.addNote(event.title || "Notice", event.message, `notice ${event.level}`);
      case "error":
        this.#toolCall = null;
        return this.log.addProblem("Error", event.message || "The answer failed.", event.allow_retry && again);
    }
  }

  #put(item) {
    if (item.type === "client_tool_call" && item.status === "pending") this.#toolCall = item;
    const isQuestion = item.type === "user_message";
    this.log.put(item, { instead: isQuestion ? this.#draft : null });
    if (!isQuestion) return;
    this.#questionId = item.id;
    this.#draft = null;
  }

  #update(itemId, update) {
    if (update.type === "assistant_message.content_part.text_delta") this.log.append(itemId, update.delta);
    if (update.type === "widget.root.updated") this.log.put({ id: itemId, type: "widget", widget: update.widget });
  }

  #fail(error, again) {
    if (error.name === "AbortError") return this.log.addNote("You", "stopped the answer");
    if (error.status === 401) return; // the page shows the way to sign in
    if (!error.status)
      return this.log.addProblem("Connection lost", "The answer broke off. Check your connection.", again);
    const isWorthIt = error.status >= 500 || WORTH_ANOTHER_TRY.has(error.status);
    this.log.addProblem(`Refused (${error.status})`, error.message, isWorthIt && again);
  }
}
