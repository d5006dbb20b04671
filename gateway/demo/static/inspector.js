// What the agent sees: what the backend said that it was told for the last request (the client effect
// `gateway.context`), and before the first one who the gateway says is signed in and what the page would send.

import { $, make } from "./dom.js";

export const CONTEXT_EFFECT = "gateway.context";

export function showExpected(session, page) {
  $("seen-when").textContent =
    "Nothing was asked yet on this page. The gateway says who you are; your next message takes this page along.";
  draw({ user: session.user, issuer: session.issuer, page });
}

export function showSeen(context) {
  $("seen-when").textContent = "What the backend was told with your last message, by its own account.";
  draw(context);
}

function draw({ user, issuer, tenant, locale, request_id: requestId, page, assertion }) {
  $("seen-user").replaceChildren(
    ...rows({
      Name: user.name,
      "E-mail": user.email,
      Id: user.id,
      Roles: user.roles?.join(", "),
      Issuer: issuer,
      Tenant: tenant,
    }),
  );
  $("seen-page").replaceChildren(
    ...rows({
      Title: page?.title,
      Address: page?.url,
      Description: page?.description,
      Headings: page?.headings?.join(" · "),
      Selection: page?.selection,
    }),
  );
  $("seen-request").replaceChildren(...rows({ "Request id": requestId ?? "after the first answer", Locale: locale }));
  $("seen-assertion").textContent = assertion ? JSON.stringify(assertion, null, 2) : "after the first answer";
  $("seen-cookies").textContent = document.cookie || "none: the token is in an httpOnly cookie";
}

// What is not there is left out: an empty row says nothing.
function rows(facts) {
  return Object.entries(facts)
    .filter(([, value]) => value)
    .flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))]);
}
