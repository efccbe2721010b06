// A call in words, and the way to it.

import { change, figure, seconds, share } from "./format.js";

/** How many calls of a long way are shown at its beginning and at its end. */
const SHOWN = [2, 6];

function part(kind, text) {
  const element = document.createElement("span");
  element.className = kind;
  element.textContent = text;
  return element;
}

/** What a call weighs, as parts of a text. */
export function describe(tree, call, unit) {
  const all = tree.total[0];
  const weight = tree.total[call];
  const own = tree.own[call];
  const parts = [part("name", tree.nameOf(call)), document.createElement("br")];
  if (tree.lasts) {
    const from = seconds(tree.begins[call]);
    const text = `from ${from} s, for ${figure(tree.lasts[call], "nanoseconds")}; `;
    parts.push(part("figures", text));
  }
  const told = `${figure(weight, unit)} (${share(weight, all)}) with all it calls, ${figure(own, unit)} (${share(own, all)}) by itself`;
  parts.push(part("figures", told));
  if (tree.baseTotal) {
    const before = tree.baseTotal[call];
    parts.push(part("figures", `; before ${figure(before, unit)} (${share(before, tree.baseTotal[0])}): `));
    parts.push(changed(weight - before, before, unit));
  }
  return parts;
}

/** A change with its colour and what it is of what was before. */
export function changed(by, before, unit) {
  const kind = by > 0 ? "more" : by < 0 ? "less" : "same";
  const of = before > 0 ? ` (${by > 0 ? "+" : ""}${share(by, before)})` : by > 0 ? " (new)" : "";
  return part(kind, `${change(by, unit)}${of}`);
}

/** The way to a call, each step a button. */
export function way(list, tree, call, zoom) {
  const path = tree.path(call);
  const [first, last] = SHOWN;
  const isLong = path.length > first + last + 1;
  const steps = isLong ? [...path.slice(0, first), undefined, ...path.slice(-last)] : path;
  list.replaceChildren(
    ...steps.map((step) => {
      const item = document.createElement("li");
      if (step === undefined) {
        item.append(part("gap", `${path.length - first - last} more`));
        return item;
      }
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = tree.nameOf(step);
      button.title = tree.nameOf(step);
      if (step === call) {
        button.setAttribute("aria-current", "true");
      }
      button.addEventListener("click", () => zoom(step));
      item.append(button);
      return item;
    }),
  );
}
