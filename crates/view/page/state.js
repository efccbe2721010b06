// What is shown, as the address says it: whoever is given the address sees the same.

const KEYS = ["profile", "type", "base", "view", "q", "zoom", "function", "from", "to", "sort", "width"];

export const VIEWS = ["flame", "icicle", "chart", "table", "calls"];

/** What the address says. What it does not say is not there. */
export function read() {
  const said = new URLSearchParams(location.hash.slice(1));
  const state = {};
  for (const key of KEYS) {
    const value = said.get(key);
    if (value !== null && value !== "") {
      state[key] = value;
    }
  }
  return state;
}

/** Changes the address. A step that people will want to take back is one of the history's. */
export function write(state, isStep) {
  const said = new URLSearchParams();
  for (const key of KEYS) {
    if (state[key] !== undefined && state[key] !== null && state[key] !== "") {
      said.set(key, state[key]);
    }
  }
  const address = `#${said}`;
  if (address === location.hash) {
    return;
  }
  if (isStep) {
    history.pushState(null, "", address);
  } else {
    history.replaceState(null, "", address);
  }
}

/** A whole number that is not negative; otherwise nothing. */
export function place(text) {
  return /^\d{1,9}$/.test(text ?? "") ? Number(text) : undefined;
}

/** Nanoseconds. They stay text: they may have more digits than a figure of this language. */
export function nanoseconds(text) {
  return /^\d{1,18}$/.test(text ?? "") ? text : undefined;
}
