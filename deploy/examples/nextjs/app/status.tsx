import type { GatewayChat } from "../lib/gateway-kit/use-gateway-chatkit";

// Yours: whatever sets the cookie. It must lead back here.
const LOGIN_URL = process.env.NEXT_PUBLIC_LOGIN_URL ?? "http://127.0.0.1:8081/login";
const LOGOUT_URL = process.env.NEXT_PUBLIC_LOGOUT_URL ?? "http://127.0.0.1:8081/logout";

/** What stands above the chat, or in its place: who is signed in, how to sign in, what went wrong. */
export function Status({ chat }: { chat: GatewayChat }) {
  return (
    <div className="status" role="status">
      <Message chat={chat} />
    </div>
  );
}

function Message({ chat }: { chat: GatewayChat }) {
  switch (chat.state) {
    case "checking":
      return <p>One moment …</p>;
    case "loading":
      return <p>The chat is being loaded …</p>;
    case "signed-out":
      return <SignIn reason="Sign in to chat." />;
    case "expired":
      return <SignIn reason="Your session has ended. Sign in again; what you wrote is kept." />;
    case "error":
      return <Failure chat={chat} />;
    case "ready":
      return <SignedIn name={chat.session?.user.name ?? chat.session?.user.id ?? ""} />;
  }
}

// Rendered in the browser only: the server does not know who is signed in, and says "one moment".
function SignIn({ reason }: { reason: string }) {
  return (
    <>
      <p>{reason}</p>
      <a className="button" href={`${LOGIN_URL}?return_to=${encodeURIComponent(location.href)}`}>
        Sign in
      </a>
    </>
  );
}

function SignedIn({ name }: { name: string }) {
  return (
    <form method="post" action={LOGOUT_URL}>
      <input type="hidden" name="return_to" value={location.href} />
      <p>{name}</p>
      <button type="submit">Sign out</button>
    </form>
  );
}

function Failure({ chat }: { chat: GatewayChat }) {
  return (
    <>
      <p>{chat.error?.message}</p>
      {chat.error?.requestId && <p className="small">Request {chat.error.requestId}</p>}
      <button type="button" onClick={chat.retry}>
        Try again
      </button>
    </>
  );
}
