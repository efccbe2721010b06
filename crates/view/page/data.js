// What the server knows, asked for once and kept as long as it is looked at.

import { Tree } from "./tree.js";

/** Trees that are kept: going back to one of the last takes no time. */
const KEPT = 4;

const kept = new Map();

async function ask(path) {
  const answer = await fetch(path);
  if (!answer.ok) {
    throw new Error((await answer.text()).trim() || `the server answers ${answer.status}`);
  }
  return answer;
}

export async function profiles() {
  return (await ask("/data/profiles")).json();
}

export async function heat(profile, type) {
  return (await ask(`/data/heat?profile=${profile}&type=${type}`)).json();
}

/** The tree that a state asks for. */
export async function tree({ profile, type, base, from, to, isChart }) {
  const said = new URLSearchParams({ profile, type });
  if (base !== undefined) {
    said.set("base", base);
  }
  if (from !== undefined) {
    said.set("from", from);
    said.set("to", to);
  }
  const path = `/data/${isChart ? "chart" : "tree"}?${said}`;
  let known = kept.get(path);
  if (known === undefined) {
    known = new Tree(columns(await (await ask(path)).arrayBuffer()));
  }
  // The last used one stands at the end.
  kept.delete(path);
  kept.set(path, known);
  while (kept.size > KEPT) {
    kept.delete(kept.keys().next().value);
  }
  return known;
}

/** The columns of an answer, where they lie in it. */
function columns(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let at = 4 + length;
  const next = (Kind) => {
    const column = new Kind(buffer, at, header.calls);
    at += column.byteLength;
    return column;
  };
  const own = next(Float64Array);
  const base = header.is_comparison ? next(Float64Array) : undefined;
  const begins = header.is_chart ? next(Float64Array) : undefined;
  const lasts = header.is_chart ? next(Float64Array) : undefined;
  const name = next(Uint32Array);
  const depth = next(Uint16Array);
  return { ...header, own, base, begins, lasts, name, depth };
}
