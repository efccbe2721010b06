// Functions in a table, to be sorted.

import { changed } from "./details.js";
import { figure, share } from "./format.js";

const SHOWN = 200;
const MORE = 1000;

/** A column: how its figure is found, and how it is written. `isExtra` may go where there is no room. */
function columns(totals, unit, isComparison) {
  const weight = (key, title, value) => ({ key, title, value, text: (row) => figure(value(row), unit) });
  const part = (key, title, value) => ({
    key, title, value, isExtra: true, text: (row) => share(value(row), totals.now),
  });
  const change = (key, title, now, before) => ({
    key, title, value: (row) => now(row) - before(row),
    node: (row) => changed(now(row) - before(row), before(row), unit),
  });
  const own = (row) => row.flat;
  const all = (row) => row.cum;
  const usual = [
    weight("flat", "Flat", own), part("flat-share", "Flat %", own),
    weight("cum", "Cum", all), part("cum-share", "Cum %", all),
  ];
  return isComparison
    ? [
        ...usual,
        change("flat-change", "Flat change", own, (row) => row.flatBefore),
        change("cum-change", "Cum change", all, (row) => row.cumBefore),
      ]
    : usual;
}

/** What a sort is called: the column's key, and `-up` behind it where the least comes first. */
function order(rows, sort, known, nameOf) {
  const isUp = sort.endsWith("-up");
  const key = isUp ? sort.slice(0, -3) : sort;
  const column = known.find((column) => column.key === key);
  const byName = (left, right) => (nameOf(left) < nameOf(right) ? -1 : 1);
  // Changes either way stand first: their size is what is looked for.
  const isChange = key.endsWith("-change");
  const size = (row) => (isChange && !isUp ? Math.abs(column.value(row)) : column.value(row));
  const compare = column ? (left, right) => size(right) - size(left) || byName(left, right) : byName;
  return [...rows].sort((left, right) => (isUp ? compare(right, left) : compare(left, right)));
}

export class Table {
  #place;
  #told;
  #count = SHOWN;
  #last;

  /** `told` has what is done when a function is chosen and when an order is. */
  constructor(place, told) {
    this.#place = place;
    this.#told = told;
  }

  show({ tree, zoom, unit, sort, matching }) {
    const all = this.#functions(tree, zoom);
    const rows = matching ? all.filter((row) => matching[row.name]) : all;
    const nameOf = (row) => tree.names[row.name];
    const known = columns({ now: tree.total[0] }, unit, Boolean(tree.baseTotal));
    const sorted = order(rows, sort, known, nameOf);
    const table = document.createElement("table");
    const caption = table.createCaption();
    const within = zoom === 0 ? "" : ` within ${tree.nameOf(zoom)}`;
    const of = matching ? ` of ${all.length}` : "";
    caption.textContent = `${rows.length}${of} functions${within}`;
    const head = table.createTHead().insertRow();
    head.append(this.#head({ key: "function", title: "Function" }, sort));
    head.append(...known.map((column) => this.#head(column, sort)));
    const body = table.createTBody();
    for (const row of sorted.slice(0, this.#count)) {
      const line = body.insertRow();
      line.append(named(nameOf(row), () => this.#told.choose(row.name)));
      for (const column of known) {
        const cell = line.insertCell();
        cell.className = column.isExtra ? "extra" : "";
        cell.append(column.node ? column.node(row) : column.text(row));
      }
    }
    this.#place.replaceChildren(table);
    if (sorted.length > this.#count) {
      this.#place.append(this.#more(sorted.length - this.#count, () => {
        this.#count += MORE;
        this.show({ tree, zoom, unit, sort, matching });
      }));
    }
  }

  /** Sorting and searching need no new sums. */
  #functions(tree, zoom) {
    if (this.#last?.tree !== tree || this.#last.zoom !== zoom) {
      this.#last = { tree, zoom, rows: tree.functions(zoom) };
      this.#count = SHOWN;
    }
    return this.#last.rows;
  }

  #head({ key, title, isExtra }, sort) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.className = key === "function" ? "function" : isExtra ? "extra" : "";
    // Names are read from A on; figures from the largest on.
    const isText = key === "function";
    const isUp = sort === `${key}-up`;
    const isChosen = sort === key || isUp;
    if (isChosen) {
      cell.setAttribute("aria-sort", isUp !== isText ? "ascending" : "descending");
    }
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = title;
    button.addEventListener("click", () => this.#told.sort(isChosen && !isUp ? `${key}-up` : key));
    cell.append(button);
    return cell;
  }

  #more(count, then) {
    const line = document.createElement("p");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `Show more (${count} are left)`;
    button.addEventListener("click", then);
    line.append(button);
    return line;
  }
}

/** A cell with a function's name, which is whatever the program calls it. */
export function named(name, then) {
  const cell = document.createElement("td");
  cell.className = "function";
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = name;
  button.title = name;
  button.addEventListener("click", then);
  cell.append(button);
  return cell;
}
