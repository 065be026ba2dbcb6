// Axes: from values to places between 0 and 1, with ticks and their texts.
const ERRORS = [50, 90, 99, 98, 95, 80, 99.5, 99.9, 70, 97, 20, 98.5, 93, 85, 60, 40, 0, 99.7, 99.8, 99.95, 99.99, 96, 94, 92, 98.2, 97.5, 98.8, 99.2];

function scaleOf(forward, low, high, ticks, text) {
  const [a, b] = [forward(low), forward(high)];
  const at = (value) => (b === a ? .5 : (forward(value) - a) / (b - a));
  return { at, low, high, ticks: (room) => ticks(at, room), text };
}

// The values, the first ones preferred, of which none is nearer than `gap` to another.
function apart(values, at, gap) {
  const kept = [];
  for (const value of values) {
    const place = at(value);
    if (place >= -.001 && place <= 1.001 && kept.every((k) => Math.abs(at(k) - place) >= gap)) kept.push(value);
  }
  return kept.sort((a, b) => a - b);
}
function steps(low, high, most) {
  const rough = (high - low) / Math.max(1, most);
  const size = 10 ** Math.floor(Math.log10(rough || 1));
  const step = [1, 2, 5, 10].map((m) => m * size).find((s) => s >= rough) || size;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i += 1) found.push(Number((i * step).toPrecision(10)));
  return found;
}
function decades(low, high) {
  const found = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e += 1) found.push(10 ** e);
  for (const m of [3, 2, 5]) for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e += 1) found.push(m * 10 ** e);
  return found.map((v) => Number(v.toPrecision(4)));
}

// Sparsity: the log axis is one of density, so that 90, 99 and 99.9 % are equally far apart.
function sparsityScale(values, log) {
  const forward = log ? (s) => -Math.log10(1 - Math.min(s, 1 - 1e-9)) : (s) => s;
  const back = log ? (x) => 1 - 10 ** -x : (x) => x;
  const [a, b] = [forward(Math.min(...values)), forward(Math.max(...values))];
  const pad = Math.max(.04 * (b - a), log ? .02 : .01);
  const names = new Map(levels);
  const ticks = (at, room) => apart([...values].sort((p, q) => q - p), at, 52 / room);
  const text = (s) => names.get(s) || `${trimmed(100 * s, 4)} %`;
  return scaleOf(forward, back(a - pad), log ? back(b + pad) : b + pad, ticks, text);
}

// Accuracy in %: the log axis is one of the error, so that 98.3 and 97.9 are as easy to tell as 60 and 20.
// All values are shown; `ends` of intervals may reach a little beyond them on the axis, not far.
function accuracyScale(values, log, ends = []) {
  const errors = values.map((v) => 100 - v).filter((error) => error > 0);
  const top = 100 - Math.min(50, ...errors) / 2; // where no error was made: half the smallest one
  const forward = log ? (v) => -Math.log10(1 - Math.min(Math.max(v, -2), top) / 100) : (v) => v;
  const back = log ? (y) => 100 * (1 - 10 ** -y) : (y) => y;
  const [first, last] = [Math.min(...values.map(forward)), Math.max(...values.map(forward))];
  const reach = Math.max(.25 * (last - first), log ? .02 : .5);
  const shown = [first, last, ...ends.map((end) => Math.min(Math.max(forward(end), first - reach), last + reach))];
  const [a, b] = [Math.min(...shown), Math.max(...shown)];
  const pad = .06 * Math.max(b - a, log ? .02 : .5);
  const [low, high] = [Math.max(a - pad, log ? -.005 : -1), b + pad];
  const at = (value) => (forward(value) - low) / (high - low);
  const ticks = (room) => {
    const even = steps(Math.max(0, back(low)), Math.min(100, back(high)), room / 55);
    if (!log) return even;
    const below = (values) => values.filter((v) => v <= top);
    const round = apart(below(ERRORS), at, 30 / room);
    return round.length >= 4 ? round : apart(below(even), at, 26 / room);
  };
  return { at, low: back(low), high: back(high), ticks, text: (v) => trimmed(v, 2) };
}
function logScale(values, text) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const spread = Math.max(Math.log10(high / low), .1);
  const [a, b] = [low / 10 ** (.06 * spread), high * 10 ** (.06 * spread)];
  const ticks = (at, room) => {
    const found = apart(decades(a, b), at, 58 / room);
    return found.length >= 2 ? found : apart(steps(a, b, room / 90), at, 58 / room);
  };
  return scaleOf(Math.log10, a, b, ticks, text);
}
function linearScale(low, high, text, gap = 70) {
  return scaleOf((v) => v, low, high, (at, room) => steps(low, high, room / gap), text);
}

// Heights moved as little as needed to be `gap` apart within [low, high], in the same order.
function spreadOut(heights, gap, low, high) {
  const order = heights.map((_, i) => i).sort((a, b) => heights[a] - heights[b]);
  const placed = [...heights];
  for (let round = 0; round < 60; round += 1) {
    for (let k = 1; k < order.length; k += 1) {
      const [i, j] = [order[k - 1], order[k]];
      const lack = gap - (placed[j] - placed[i]);
      if (lack > 0) { placed[i] -= lack / 2; placed[j] += lack / 2; }
    }
    for (let k = 0; k < order.length; k += 1) {
      placed[order[k]] = Math.min(Math.max(placed[order[k]], low + gap * k), high - gap * (order.length - 1 - k));
    }
  }
  return placed;
}
