// What is shown follows from the address; what is done changes the address.

import * as calls from "./calls.js";
import * as data from "./data.js";
import { describe, way } from "./details.js";
import { Flame } from "./flame.js";
import { figure, seconds, share } from "./format.js";
import { Heat } from "./heat.js";
import { VIEWS, nanoseconds, place, read, write } from "./state.js";
import { Table } from "./table.js";

const at = (id) => document.getElementById(id);
const narrow = matchMedia("(max-width: 40rem)");
const REMEDY =
  "No sample says when it was taken, so there is no picture of it over time. Collect with temblor profile cpu --timeline to have one.";

let profiles = [];
/** What is shown: the state with everything that was left open chosen, and what was made for it. */
let shown;
/** Each change outdates the answers to those before. */
let round = 0;

const flame = new Flame(at("flame"), { zoom: (call) => change({ zoom: call }), point, calls: callsOf });
const table = new Table(at("table"), {
  choose: (name) => change({ view: "calls", function: shown.tree.names[name] }),
  sort: (sort) => change({ sort }),
});
const heat = new Heat(at("heat"), {
  point: (text) => (at("when").textContent = text),
  pick: (from, to) => change({ from, to }),
});

/** The state that an address asks for, as far as it can be. */
function settled(said) {
  const inside = (text, count, otherwise) => {
    const value = place(text);
    return value !== undefined && value < count ? value : otherwise;
  };
  const profile = inside(said.profile, profiles.length, 0);
  const about = profiles[profile];
  const type = inside(said.type, about.types.length, about.default_type);
  const other = inside(said.base, profiles.length, undefined);
  // Where one has to scroll to the picture, it is read from its top.
  const usual = narrow.matches ? "icicle" : "flame";
  const isPossible = VIEWS.includes(said.view) && (said.view !== "chart" || about.is_timed);
  const view = isPossible ? said.view : usual;
  const isChart = view === "chart";
  const base = other === profile || isChart ? undefined : other;
  const [from, to] = [nanoseconds(said.from), nanoseconds(said.to)];
  const isWindow = about.is_timed && base === undefined && from !== undefined && to !== undefined;
  return {
    profile, type, base, view, isChart, about,
    unit: about.types[type]?.unit,
    from: isWindow ? from : undefined,
    to: isWindow ? to : undefined,
    zoom: place(said.zoom) ?? 0,
    width: said.width === "base" && base !== undefined ? "base" : "new",
    sort: said.sort ?? "flat",
    q: said.q ?? "",
    function: said.function,
  };
}

/** Shows what the address says. */
async function follow() {
  round += 1;
  const mine = round;
  document.body.dataset.ready = "false";
  const state = settled(read());
  try {
    const tree = await data.tree(state);
    const hot = state.about.is_timed ? await heatOf(state) : undefined;
    if (mine !== round) {
      return;
    }
    state.zoom = state.zoom < tree.size ? state.zoom : 0;
    shown = { ...state, tree, hot, matching: tree.matching(state.q) };
    at("error").hidden = true;
    draw();
  } catch (error) {
    if (mine === round) {
      at("error").textContent = `This cannot be shown: ${error.message}`;
      at("error").hidden = false;
      choices(state);
    }
  }
  if (mine === round) {
    document.body.dataset.ready = "true";
    document.body.dataset.drawnMs ??= String(Math.round(performance.now()));
  }
}

let lastHeat;

async function heatOf({ profile, type }) {
  const key = `${profile} ${type}`;
  if (lastHeat?.key !== key) {
    lastHeat = { key, cells: await data.heat(profile, type) };
  }
  return lastHeat.cells;
}

/** Changes what is shown, and the address with it. A zoom stays with its call where there is one. */
async function change(by) {
  document.body.dataset.ready = "false";
  const state = { ...read(), ...by };
  const next = settled(state);
  const isOther = ["profile", "type", "base", "from", "to", "isChart"].some((key) => next[key] !== shown?.[key]);
  if (shown && isOther && by.zoom === undefined && shown.zoom > 0) {
    try {
      const tree = await data.tree(next);
      state.zoom = tree.find(shown.tree, shown.zoom);
    } catch {
      // What is wrong is shown when it is asked for again.
      state.zoom = 0;
    }
  }
  write({ ...state, zoom: state.zoom || undefined }, by.q === undefined);
  await follow();
}

function draw() {
  const { tree, view, zoom, unit, matching, width } = shown;
  choices(shown);
  time();
  search();
  const isPicture = ["flame", "icicle", "chart"].includes(view);
  at("flame").hidden = !isPicture;
  at("table").hidden = view !== "table";
  at("calls").hidden = view !== "calls";
  at("keys").hidden = !isPicture;
  if (isPicture) {
    const weights = width === "base" ? tree.baseTotal : tree.total;
    flame.show({ tree, zoom, matching, weights, shape: view });
    const what = `${shown.about.name}, ${figure(tree.total[0], unit)} in all, zoomed to ${tree.nameOf(zoom)}`;
    at("canvas").setAttribute("aria-label", `Calls of ${what}. The table has the same figures.`);
    document.body.dataset.boxes = String(flame.boxes);
  } else if (view === "table") {
    table.show(shown);
  } else {
    calls.show(at("calls"), {
      ...shown,
      name: shown.function,
      choose: (name) => change({ function: tree.names[name] }),
    });
  }
  way(at("path"), tree, zoom, (call) => change({ zoom: call }));
  at("reset").disabled = zoom === 0 && !shown.q && shown.from === undefined;
  leftOut();
  point(undefined);
  document.title = `${shown.about.name} - temblor`;
}

function options(select, texts, chosen) {
  select.replaceChildren(...texts.map(([value, text]) => new Option(text, value)));
  select.value = String(chosen);
}

function choices({ profile, type, base, view, width, about }) {
  options(at("profile"), profiles.map(({ name }, place) => [place, name]), profile);
  options(at("type"), about.types.map(({ kind, unit }, place) => [place, `${kind} (${unit})`]), type);
  const others = profiles.map(({ name }, place) => [place, name]).filter(([place]) => place !== profile);
  options(at("base"), [["", "nothing"], ...others], base ?? "");
  at("base-choice").hidden = others.length === 0;
  at("width-choice").hidden = base === undefined;
  at("width").value = width;
  for (const button of at("views").children) {
    button.setAttribute("aria-pressed", String(button.dataset.view === view));
    const isUntimed = button.dataset.view === "chart" && !about.is_timed;
    button.disabled = isUntimed;
    button.title = isUntimed ? REMEDY : "";
  }
}

function time() {
  const { about, hot, unit, from, to, base } = shown;
  const hasPicture = hot !== undefined && base === undefined;
  at("heat").hidden = !hasPicture;
  at("window").hidden = !hasPicture;
  at("when").hidden = !hasPicture;
  at("untimed").hidden = hasPicture;
  at("untimed").textContent = about.is_timed
    ? "A comparison is of all the time: compare with nothing to pick a part of it."
    : REMEDY;
  if (hasPicture) {
    heat.show(hot, unit, from, to);
    at("from").value = from === undefined ? "" : seconds(from);
    at("to").value = to === undefined ? "" : seconds(to);
    at("whole").disabled = from === undefined;
    const some = hot.untimed > 0 ? `; ${hot.untimed} samples have no time and are in no window` : "";
    at("when").textContent = from === undefined ? `all of it${some}` : `${seconds(from)} s to ${seconds(to)} s${some}`;
  }
}

function search() {
  const { q, tree, matching, zoom } = shown;
  if (document.activeElement !== at("search")) {
    at("search").value = q;
  }
  const count = matching?.reduce((sum, one) => sum + one, 0);
  const weight = matching && tree.weightOf(matching, zoom);
  at("found").textContent =
    matching === undefined ? "" : `${share(weight, tree.total[zoom])} in ${count} functions`;
}

function leftOut() {
  const { tree, unit } = shown;
  const told = [];
  if (tree.total[0] === 0) {
    told.push("Nothing was counted here.");
  }
  if (tree.joinedBelow > 1) {
    told.push(`Calls of less than ${figure(tree.joinedBelow, unit)} are part of their callers.`);
  }
  if (tree.negative > 0) {
    told.push(`Stacks of negative weight (${figure(tree.negative, unit)}) are not shown.`);
  }
  at("left-out").textContent = told.join(" ");
  at("left-out").hidden = told.length === 0;
}

/** Tells of the call that is pointed at, or else of the one that the picture is zoomed to. */
function point(call) {
  const told = call ?? shown.zoom;
  at("details").replaceChildren(...describe(shown.tree, told, shown.unit));
  for (const id of ["to-calls", "to-search"]) {
    at(id).disabled = shown.zoom === 0;
  }
}

function callsOf(call) {
  if (call !== 0) {
    change({ view: "calls", function: shown.tree.nameOf(call) });
  }
}

function listen() {
  at("profile").addEventListener("change", ({ target }) => {
    const isBase = read().base === target.value;
    change({ profile: target.value, type: undefined, from: undefined, to: undefined, ...(isBase && { base: undefined }) });
  });
  at("type").addEventListener("change", ({ target }) => change({ type: target.value }));
  at("base").addEventListener("change", ({ target }) => change({ base: target.value }));
  at("width").addEventListener("change", ({ target }) => change({ width: target.value }));
  for (const button of at("views").children) {
    button.addEventListener("click", () => change({ view: button.dataset.view }));
  }
  at("search").addEventListener("input", ({ target }) => change({ q: target.value }));
  at("searching").addEventListener("submit", (event) => event.preventDefault());
  at("reset").addEventListener("click", () => {
    at("search").value = "";
    change({ zoom: 0, q: "", from: undefined, to: undefined });
  });
  at("whole").addEventListener("click", () => change({ from: undefined, to: undefined }));
  at("window").addEventListener("submit", (event) => {
    event.preventDefault();
    const [from, to] = [at("from"), at("to")].map(({ value }) => String(Math.round(Number(value) * 1e9)));
    change({ from, to });
  });
  at("to-calls").addEventListener("click", () => callsOf(shown.zoom));
  at("to-search").addEventListener("click", () => change({ q: shown.tree.nameOf(shown.zoom) }));
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT)$/.test(document.activeElement.tagName)) {
      event.preventDefault();
      at("search").focus();
    } else if (event.key === "Escape" && document.activeElement === at("search")) {
      at("search").value = "";
      change({ q: "" });
      at("canvas").focus();
    }
  });
  window.addEventListener("popstate", follow);
}

try {
  profiles = await data.profiles();
  listen();
  await follow();
} catch (error) {
  at("error").textContent = `The server does not answer: ${error.message}`;
  at("error").hidden = false;
}
