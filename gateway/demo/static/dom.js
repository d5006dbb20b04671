// Elements from names, attributes and children. Text is always a text node: nothing here reads markup.

export const $ = (id) => document.getElementById(id);

// Attributes that are functions listen to the event of that name; false, null and undefined are left out.
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    if (typeof value === "function") element.addEventListener(key, value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

export function button(label, onClick, attributes = {}) {
  return make("button", { type: "button", click: onClick, ...attributes }, label);
}
