// A function between those that call it and those that it calls.

import { changed } from "./details.js";
import { figure, share } from "./format.js";
import { named } from "./table.js";

const SHOWN = 200;

/** The place of a name, or that of the function that weighs most by itself. */
export function chosen(tree, name) {
  const place = tree.names.indexOf(name);
  if (place > 0) {
    return place;
  }
  return name === undefined
    ? tree.functions(0).reduce((most, row) => (!most || row.flat > most.flat ? row : most), undefined)?.name
    : undefined;
}

/** Shows it. `choose` is told of another function that is asked for. */
export function show(place, { tree, name, unit, matching, choose }) {
  const at = chosen(tree, name);
  if (at === undefined) {
    const line = document.createElement("p");
    line.textContent = name === undefined ? "There is no function." : `There is no function ${name} here.`;
    place.replaceChildren(line);
    return;
  }
  const row = tree.functions(0).find((row) => row.name === at) ?? { flat: 0, cum: 0, cumBefore: 0 };
  const title = document.createElement("p");
  title.className = "function-name";
  title.textContent = tree.names[at];
  const all = tree.total[0];
  const about = document.createElement("p");
  about.append(
    `${figure(row.cum, unit)} (${share(row.cum, all)}) with all it calls, ` +
      `${figure(row.flat, unit)} (${share(row.flat, all)}) by itself`,
  );
  if (tree.baseTotal) {
    about.append("; ", changed(row.cum - row.cumBefore, row.cumBefore, unit));
  }
  const { callers, callees } = tree.neighbours(at);
  const pair = document.createElement("div");
  pair.className = "pair";
  const whole = { weight: row.cum, unit, isComparison: Boolean(tree.baseTotal), matching, choose, tree };
  pair.append(table("Called by", callers, whole), table("Calls", callees, whole));
  place.replaceChildren(title, about, pair);
}

function table(title, rows, { weight, unit, isComparison, matching, choose, tree }) {
  const table = document.createElement("table");
  table.createCaption().textContent = `${title} (${rows.length})`;
  const head = table.createTHead().insertRow();
  for (const text of ["Function", "Weight", "Share", ...(isComparison ? ["Change"] : [])]) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = text;
    cell.className = { Function: "function", Share: "extra" }[text] ?? "";
    head.append(cell);
  }
  const body = table.createTBody();
  for (const row of rows.slice(0, SHOWN)) {
    const line = body.insertRow();
    line.className = matching?.[row.name] ? "marked" : "";
    if (row.name === 0) {
      const cell = line.insertCell();
      cell.className = "function";
      cell.textContent = "(nobody: a stack begins here)";
    } else {
      line.append(named(tree.names[row.name], () => choose(row.name)));
    }
    line.insertCell().textContent = figure(row.weight, unit);
    const part = line.insertCell();
    part.className = "extra";
    part.textContent = share(row.weight, weight);
    if (isComparison) {
      line.insertCell().append(changed(row.weight - row.before, row.before, unit));
    }
  }
  if (rows.length > SHOWN) {
    const cell = body.insertRow().insertCell();
    cell.className = "function";
    cell.textContent = `${rows.length - SHOWN} lighter ones are not shown`;
  }
  return table;
}
