// The message that was refused because the session had ended: it survives the way to the login page and back.

interface Body {
  type?: string;
  params?: { input?: { content?: { text?: string }[] } };
}

/** The same fetch, which remembers a message of this user's until it has been accepted. */
export function keepUnsent(send: typeof fetch, user: string): typeof fetch {
  return async (input, init) => {
    const text = messageIn(init?.body);
    if (text) sessionStorage.setItem(keyFor(user), text);
    const response = await send(input, init);
    if (text && response.status !== 401) sessionStorage.removeItem(keyFor(user));
    return response;
  };
}

/** The message to put back into the composer, once. */
export function takeUnsent(user: string): string | null {
  const text = sessionStorage.getItem(keyFor(user));
  sessionStorage.removeItem(keyFor(user));
  return text;
}

// By user: what alice wrote is not for bob, who signs in after her.
function keyFor(user: string): string {
  return `unsent-message:${user}`;
}

function messageIn(body: unknown): string {
  const request: Body = typeof body === "string" ? JSON.parse(body) : {};
  if (request.type !== "threads.create" && request.type !== "threads.add_user_message") return "";
  return (request.params?.input?.content ?? []).map((part) => part.text ?? "").join("");
}
