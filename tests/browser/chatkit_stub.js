// What stands in for the official ChatKit script, which tests cannot load: the same element, options, methods, events
// and requests, drawn as plainly as can be. Requests are made by the page's `api.fetch`, with ChatKit's own headers.

// Milliseconds. The real one's frame takes longer; whoever listens for it does so by then.
const ARRIVAL = 50;

class ChatKitStub extends HTMLElement {
  setOptions(options) {
    const isFirst = !this.options;
    this.options = options;
    if (isFirst) this.start();
  }

  start() {
    this.draw();
    setTimeout(() => this.arrive(), ARRIVAL);
  }

  arrive() {
    this.say("chatkit.ready");
    this.setThreadId(this.options.initialThread ?? null);
  }

  draw() {
    this.log = build("div", { role: "log" });
    this.notice = build("p", { role: "alert" });
    this.quote = build("blockquote");
    this.composer = build("textarea", { ariaLabel: "Message" });
    this.sending = build("button", { textContent: "Send", onclick: () => this.sendUserMessage({ text: this.composer.value }) });
    this.stopping = build("button", { textContent: "Stop", hidden: true, onclick: () => this.running.abort() });
    this.retrying = build("button", { textContent: "Retry", hidden: true, onclick: () => this.retry() });
    this.replaceChildren(this.log, this.notice, this.quote, this.composer, this.sending, this.stopping, this.retrying);
  }

  // --- Methods of the element ---

  async setThreadId(id) {
    this.threadId = id;
    this.log.replaceChildren();
    this.say("chatkit.thread.change", { threadId: id });
    if (!id) return;
    const response = await this.post({ type: "threads.get_by_id", params: { thread_id: id } });
    const thread = await response.json();
    if (response.ok) thread.items.data.forEach((item) => this.show(item));
    else this.complain(thread.message);
  }

  async sendUserMessage({ text }) {
    const input = { content: [{ type: "input_text", text }], attachments: [], inference_options: {} };
    if (this.quote.textContent) input.quoted_text = this.quote.textContent;
    await this.setComposerValue({});
    const params = this.threadId ? { thread_id: this.threadId, input } : { input };
    await this.stream({ type: this.threadId ? "threads.add_user_message" : "threads.create", params });
  }

  async setComposerValue({ text = "", reply = "" }) {
    this.composer.value = text;
    this.quote.textContent = reply;
  }

  async focusComposer() {
    this.composer.focus();
  }

  // --- Talking ---

  retry() {
    return this.stream({
      type: "threads.retry_after_item",
      params: { thread_id: this.threadId, item_id: this.question },
    });
  }

  async stream(body) {
    this.begin();
    try {
      const response = await this.post(body, this.running.signal);
      if (response.ok) await this.read(response);
      else this.complain((await response.json()).message || response.statusText);
    } catch (error) {
      if (error.name !== "AbortError") this.complain("Network error");
    }
    this.stopping.hidden = true;
    this.say("chatkit.response.end");
  }

  begin() {
    this.running = new AbortController();
    this.notice.textContent = "";
    this.stopping.hidden = false;
    this.retrying.hidden = true;
    this.say("chatkit.response.start");
  }

  post(body, signal) {
    const headers = {
      "content-type": "application/json",
      "accept-language": this.options.locale ?? navigator.language,
      "chatkit-frame-instance-id": "stub",
    };
    return this.options.api.fetch(this.options.api.url, { method: "POST", headers, body: JSON.stringify(body), signal });
  }

  async read(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) return;
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) {
        const data = event.replace(/^(:.*\n)+/, "");
        if (data.startsWith("data: ")) this.take(JSON.parse(data.slice(6)));
      }
    }
  }

  take(event) {
    if (event.type === "thread.created") {
      this.threadId = event.thread.id;
      this.say("chatkit.thread.change", { threadId: this.threadId });
    } else if (event.type === "thread.item.added" || event.type === "thread.item.done") this.show(event.item);
    else if (event.type === "thread.item.updated") this.grow(event.item_id, event.update.delta ?? "");
    else if (event.type === "client_effect") this.say("chatkit.effect", { name: event.name, data: event.data });
    else if (event.type === "error") {
      this.complain(event.message);
      this.retrying.hidden = !event.allow_retry;
    }
  }

  // --- Showing ---

  show(item) {
    if (item.type === "user_message") this.question = item.id;
    if (!item.content) return;
    this.lineOf(item.id, item.type).textContent = item.content.map((part) => part.text ?? "").join("");
  }

  grow(id, delta) {
    this.lineOf(id, "assistant_message").append(delta);
  }

  lineOf(id, type) {
    const there = [...this.log.children].find((line) => line.dataset.id === id);
    if (there) return there;
    const line = build("p", { className: type });
    line.dataset.id = id;
    this.log.append(line);
    return line;
  }

  complain(message) {
    this.notice.textContent = message;
    this.say("chatkit.error", { error: new Error(message) });
  }

  say(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

function build(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}

customElements.define("openai-chatkit", ChatKitStub);
