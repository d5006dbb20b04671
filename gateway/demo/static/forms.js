// Questions of the agent's (structured input): a form while they are open, the answers once they are given.

import { button, make } from "./dom.js";

// `onSubmit(submission)` gets what goes into `threads.add_structured_input`.
export function drawQuestions(item, onSubmit) {
  if (item.status !== "pending") return drawAnswers(item);
  const form = make("form", { class: "questions" }, ...item.inputs.map((input) => drawQuestion(item.id, input)));
  form.append(
    make(
      "div",
      { class: "bar" },
      button("Skip", () => onSubmit({ status: "skipped", answers: {} })),
      make("button", { type: "submit", class: "primary" }, "Send answers"),
    ),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    onSubmit({ status: "answered", answers: readAnswers(form, item.inputs) });
  });
  return form;
}

function drawQuestion(itemId, input) {
  const name = `${itemId}.${input.id}`;
  if (input.type === "freeform") {
    const area = make("textarea", { name, id: name, rows: 2 });
    return make("div", {}, make("label", { for: name }, input.question), describe(input), area);
  }
  const kind = input.multiple ? "checkbox" : "radio";
  const choices = input.options.map(({ value }) =>
    make("label", { class: "choice" }, make("input", { type: kind, name, value }), ` ${value}`),
  );
  // ChatKit lets people answer in their own words instead of any choice.
  const own = make(
    "label",
    { class: "choice" },
    "Or in your own words: ",
    make("input", { type: "text", name: `${name}.own` }),
  );
  return make("fieldset", {}, make("legend", {}, input.question), ...choices, own);
}

function describe(input) {
  return input.description && make("p", { class: "caption" }, input.description);
}

function readAnswers(form, inputs) {
  const data = new FormData(form);
  const prefix = form.querySelector("[name]").name.split(".")[0];
  return Object.fromEntries(inputs.map((input) => [input.id, readAnswer(data, `${prefix}.${input.id}`, input)]));
}

function readAnswer(data, name, input) {
  const own = String(data.get(`${name}.own`) ?? "").trim();
  const chosen = data
    .getAll(name)
    .map((value) => String(value).trim())
    .filter(Boolean);
  const values = own && !input.multiple ? [own] : [...chosen, ...(own ? [own] : [])];
  return values.length ? { values } : { values: [], skipped: true };
}

function drawAnswers(item) {
  if (item.status === "skipped") return make("p", { class: "caption" }, "You skipped these questions.");
  const rows = item.inputs.flatMap(({ question, answer }) => [
    make("dt", {}, question),
    make("dd", {}, answer?.values?.join(", ") || "(skipped)"),
  ]);
  return make("dl", { class: "answers" }, ...rows);
}
