// Figures as people read them.

const SCALES = {
  nanoseconds: [[3.6e12, "h"], [1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]],
  microseconds: [[3.6e9, "h"], [1e6, "s"], [1e3, "ms"], [1, "µs"]],
  milliseconds: [[3.6e6, "h"], [1e3, "s"], [1, "ms"]],
  seconds: [[3600, "h"], [1, "s"]],
  bytes: [[2 ** 40, "TB"], [2 ** 30, "GB"], [2 ** 20, "MB"], [2 ** 10, "kB"], [1, "B"]],
};

const whole = new Intl.NumberFormat("en-US");

/** A figure with its unit: 1.50 s, 12,345. */
export function figure(value, unit) {
  const scale = SCALES[unit];
  if (!scale || value === 0) {
    return scale || !unit || unit === "count" ? whole.format(value) : `${whole.format(value)} ${unit}`;
  }
  const size = Math.abs(value);
  // What would be rounded up to one of the next unit is one of it.
  const [factor, name] = scale.find(([factor]) => size >= factor * 0.9995) ?? scale.at(-1);
  const scaled = value / factor;
  const digits = factor === 1 || Math.abs(scaled) >= 100 ? 0 : Math.abs(scaled) >= 10 ? 1 : 2;
  return `${scaled.toFixed(digits)} ${name}`;
}

/** A figure that may be more or less, with its sign. */
export function change(value, unit) {
  return value > 0 ? `+${figure(value, unit)}` : figure(value, unit);
}

/** A share of a whole. */
export function share(value, of) {
  if (of === 0 || value === 0) {
    return "0 %";
  }
  const percent = (value / of) * 100;
  const size = Math.abs(percent);
  return `${percent.toFixed(size >= 99.95 ? 0 : size >= 10 ? 1 : size >= 0.01 ? 2 : 4)} %`;
}

/** Nanoseconds as seconds, with as many digits as say something. */
export function seconds(ns) {
  return (Number(ns) / 1e9).toFixed(3).replace(/\.?0+$/, "");
}
