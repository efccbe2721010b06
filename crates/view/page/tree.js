// A profile's calls. Each is followed by all that it called, so that what belongs to a call lies
// between its place and its end.

export class Tree {
  constructor({ names, name, depth, own, base, begins, lasts, negative, joined_below }) {
    this.names = names;
    this.name = name;
    this.depth = depth;
    this.own = own;
    this.baseOwn = base;
    this.begins = begins;
    this.lasts = lasts;
    this.negative = negative;
    this.joinedBelow = joined_below;
    this.size = name.length;
    this.parent = parents(depth);
    this.end = ends(this.parent);
    this.total = sums(own, this.parent);
    this.baseTotal = base && sums(base, this.parent);
    this.deepest = depth.reduce((deepest, one) => Math.max(deepest, one), 0);
  }

  nameOf(call) {
    return call === 0 ? "all" : this.names[this.name[call]];
  }

  /** From the root to a call. */
  path(call) {
    const path = [call];
    while (call !== 0) {
      call = this.parent[call];
      path.push(call);
    }
    return path.reverse();
  }

  /** The call that has the path of another tree's call, as far as there is one. */
  find(other, call) {
    let found = 0;
    for (const step of other.path(call).slice(1)) {
      const name = other.nameOf(step);
      let child = found + 1;
      while (child < this.end[found] && this.nameOf(child) !== name) {
        child = this.end[child];
      }
      if (child >= this.end[found]) {
        break;
      }
      found = child;
    }
    return found;
  }

  /** For each name whether it is sought; nothing where nothing is sought. */
  matching(text) {
    if (!text) {
      return undefined;
    }
    const is = test(text);
    return Uint8Array.from(this.names, (name, at) => (at > 0 && is(name) ? 1 : 0));
  }

  /** What calls of these names weigh within a call, each stack once. */
  weightOf(matching, within) {
    let weight = 0;
    let call = within;
    while (call < this.end[within]) {
      if (matching[this.name[call]]) {
        weight += this.total[call];
        call = this.end[call];
      } else {
        call += 1;
      }
    }
    return weight;
  }

  /** For each name what it weighs by itself and with all that it called, within a call. */
  functions(within) {
    const table = (own, total) => this.#weigh(within, own, total);
    const now = table(this.own, this.total);
    const before = this.baseOwn ? table(this.baseOwn, this.baseTotal) : undefined;
    const rows = [];
    for (let name = 1; name < this.names.length; name += 1) {
      const row = { name, flat: now.flat[name], cum: now.cum[name] };
      if (before) {
        row.flatBefore = before.flat[name];
        row.cumBefore = before.cum[name];
      }
      if (row.cum !== 0 || row.cumBefore) {
        rows.push(row);
      }
    }
    return rows;
  }

  #weigh(within, own, total) {
    const flat = new Float64Array(this.names.length);
    const cum = new Float64Array(this.names.length);
    // How often each name is in the stack: a function that calls itself weighs once.
    const open = new Uint32Array(this.names.length);
    const stack = [];
    for (let call = Math.max(within, 1); call < this.end[within]; call += 1) {
      while (stack.length > 0 && this.end[stack.at(-1)] <= call) {
        open[this.name[stack.pop()]] -= 1;
      }
      const name = this.name[call];
      flat[name] += own[call];
      if (open[name] === 0) {
        cum[name] += total[call];
      }
      open[name] += 1;
      stack.push(call);
    }
    return { flat, cum };
  }

  /** Who calls a function and whom it calls, with what weighs of it; each stack once. */
  neighbours(name) {
    const callers = new Map();
    const callees = new Map();
    const open = new Map();
    const stack = [];
    const add = (to, key, call) => {
      const row = to.get(key) ?? { name: key, weight: 0, before: 0 };
      row.weight += this.total[call];
      row.before += this.baseTotal ? this.baseTotal[call] : 0;
      to.set(key, row);
    };
    for (let call = 1; call < this.size; call += 1) {
      while (stack.length > 0 && this.end[stack.at(-1).call] <= call) {
        const { edge } = stack.pop();
        open.set(edge, open.get(edge) - 1);
      }
      const caller = this.name[this.parent[call]];
      const called = this.name[call];
      if (caller !== name && called !== name) {
        continue;
      }
      const edge = caller * this.names.length + called;
      if (!open.get(edge)) {
        // A function that calls itself is neither its own caller nor called by itself.
        if (called === name && caller !== name) {
          add(callers, caller, call);
        } else if (caller === name && called !== name) {
          add(callees, called, call);
        }
      }
      open.set(edge, (open.get(edge) ?? 0) + 1);
      stack.push({ call, edge });
    }
    const heaviest = (left, right) => right.weight - left.weight || right.before - left.before;
    return {
      callers: [...callers.values()].sort(heaviest),
      callees: [...callees.values()].sort(heaviest),
    };
  }
}

/** Whether a name is sought: it has the text, however written, or it fits between slashes. */
function test(text) {
  const between = /^\/(.+)\/$/.exec(text);
  if (between) {
    try {
      const expression = new RegExp(between[1], "i");
      return (name) => expression.test(name);
    } catch {
      // While it is being written it may be none yet.
      return () => false;
    }
  }
  const small = text.toLowerCase();
  return (name) => name.toLowerCase().includes(small);
}

function parents(depth) {
  const parents = new Uint32Array(depth.length);
  const last = [];
  for (let call = 0; call < depth.length; call += 1) {
    last[depth[call]] = call;
    parents[call] = depth[call] === 0 ? 0 : last[depth[call] - 1];
  }
  return parents;
}

function ends(parents) {
  const ends = Uint32Array.from(parents, (_, call) => call + 1);
  for (let call = parents.length - 1; call > 0; call -= 1) {
    ends[parents[call]] = Math.max(ends[parents[call]], ends[call]);
  }
  return ends;
}

function sums(own, parents) {
  const sums = Float64Array.from(own);
  for (let call = sums.length - 1; call > 0; call -= 1) {
    sums[parents[call]] += sums[call];
  }
  return sums;
}
