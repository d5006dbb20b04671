// What would keep somebody from reading or operating the page as it is now: each a list, empty when all is well.
(minimumContrast) => {
  const OPERABLE = "button, a[href], input, textarea, select, img, dialog, nav, aside";

  const namesOf = (element) => [
    element.getAttribute("aria-label"),
    element.textContent,
    element.alt,
    ...[...(element.labels ?? [])].map((label) => label.textContent),
    ...(element.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent),
  ];
  const isOrnament = (element) => element.tagName === "IMG" && element.alt === "";
  const nameless = [...document.querySelectorAll(OPERABLE)]
    .filter((element) => element.checkVisibility() && !isOrnament(element))
    .filter((element) => !namesOf(element).some((name) => name?.trim()))
    .map((element) => element.outerHTML);

  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  // WCAG 2.2: relative luminance.
  const luminance = ([red, green, blue]) =>
    0.2126 * linear(red / 255) + 0.7152 * linear(green / 255) + 0.0722 * linear(blue / 255);
  const groundOf = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour[3] !== 0) return colour;
    }
    return [255, 255, 255];
  };
  const contrastOf = (element) => {
    const both = [numbers(getComputedStyle(element).color), groundOf(element)].map(luminance);
    return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
  };
  const faint = new Set();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const { data, parentElement } = texts.currentNode;
    if (!data.trim() || !parentElement.checkVisibility()) continue;
    const contrast = contrastOf(parentElement);
    if (contrast < minimumContrast) faint.add(`${contrast.toFixed(2)}: ${data.trim()}`);
  }

  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  const { scrollWidth } = document.documentElement;
  return {
    nameless,
    faint: [...faint],
    repeated: ids.filter((id, index) => ids.indexOf(id) !== index),
    wide: scrollWidth > innerWidth ? [`${scrollWidth} pixels on a screen of ${innerWidth}`] : [],
  };
}
