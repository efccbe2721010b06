// Colours of calls: by where a function comes from, or by how much has changed.

const dark = matchMedia("(prefers-color-scheme: dark)");
const known = new Map();

/** Calls back when the colours of the surroundings change. */
export function whenChanged(then) {
  dark.addEventListener("change", () => {
    known.clear();
    then();
  });
}

/** What the style sheet says. */
export function named(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function hash(text) {
  let sum = 2166136261;
  for (let at = 0; at < text.length; at += 1) {
    sum = Math.imul(sum ^ text.charCodeAt(at), 16777619);
  }
  return (sum >>> 0) / 2 ** 32;
}

/** The part of a name that functions of one origin share. */
function origin(name) {
  const bare = name.replace(/[<({].*$/, "");
  const end = Math.max(bare.lastIndexOf("::"), bare.lastIndexOf("."), bare.lastIndexOf("/"));
  return end > 0 ? bare.slice(0, end) : name;
}

/** The same name has the same colour always. What has no name is grey. */
export function ofName(name) {
  let colour = known.get(name);
  if (colour === undefined) {
    const isNameless = name.startsWith("[") || name.startsWith("<unknown");
    const hue = isNameless ? 215 : 8 + hash(origin(name)) * 46;
    const light = (dark.matches ? 36 : 70) + hash(name) * 9;
    const strong = isNameless ? 8 : dark.matches ? 48 : 82;
    colour = `hsl(${hue.toFixed(0)} ${strong}% ${light.toFixed(0)}%)`;
    if (known.size > 20000) {
      known.clear();
    }
    known.set(name, colour);
  }
  return colour;
}

/** Red for more, blue for less, the stronger the larger its share of the whole. */
export function ofChange(change, whole) {
  const strength = whole > 0 ? Math.min(1, Math.sqrt(Math.abs(change) / whole)) : 0;
  const hue = change > 0 ? 14 : 212;
  const strong = Math.round(change === 0 ? 0 : 25 + 65 * strength);
  const light = dark.matches ? 26 + 26 * strength : 92 - 34 * strength;
  return `hsl(${hue} ${strong}% ${light.toFixed(0)}%)`;
}

/** Between cold and hot. */
export function ofHeat(share) {
  return `color-mix(in srgb, ${named("hot")} ${Math.round(Math.sqrt(share) * 100)}%, ${named("cold")})`;
}

/** What is written on a call. */
export function ofText() {
  return dark.matches ? "#f4f1ec" : "#1b1510";
}
