// Data, elements and numbers as texts; what all figures share.
const DATA = JSON.parse(document.getElementById("data").textContent);
const NS = "http://www.w3.org/2000/svg";
const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}
const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(NS, tag), attributes, children);

// ---- numbers ----
const missing = (value) => value === null || value === undefined;
const trimmed = (value, digits) => String(Number(value.toFixed(digits)));
const fixed = (value) => (missing(value) ? "-" : value.toFixed(2));
const interval = (point) =>
  missing(point.low) ? "no interval" : `95 % interval ${fixed(point.low)} to ${fixed(point.high)}`;

function compact(value) {
  if (missing(value)) return "-";
  for (const [size, letter] of [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(3))} ${letter}`;
  }
  return String(Number(value.toPrecision(3)));
}
const share = (value) => {
  const percent = 100 * value;
  return percent >= 99.95 ? "100" : percent >= 10 ? percent.toFixed(0)
    : percent >= 1 ? percent.toFixed(1) : trimmed(percent, 2);
};

// ---- how a method is drawn ----
const DASHES = ["", "1.5 3", "8 3 2 3", "6 4"];
const SHAPES = {
  o: (r) => `M${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0z`,
  s: (r) => `M${-r * .88},${-r * .88}h${r * 1.76}v${r * 1.76}h${-r * 1.76}z`,
  "^": (r) => `M0,${-r * 1.15}L${r * 1.1},${r * .85}H${-r * 1.1}z`,
  v: (r) => `M0,${r * 1.15}L${r * 1.1},${-r * .85}H${-r * 1.1}z`,
  D: (r) => `M0,${-r * 1.25}L${r * 1.25},0L0,${r * 1.25}L${-r * 1.25},0z`,
  d: (r) => `M0,${-r * 1.1}L${r * .68},0L0,${r * 1.1}L${-r * .68},0z`,
  P: (r) => cross(r, r * .38),
  X: (r) => rotated(r),
  p: (r) => polygon(5, r * 1.1),
};
function cross(r, h) {
  return `M${-h},${-r}h${2 * h}v${r - h}h${r - h}v${2 * h}h${h - r}v${r - h}h${-2 * h}v${h - r}h${h - r}v${-2 * h}h${r - h}z`;
}
function rotated(r) {
  const h = r * .4;
  const points = [[0, -h], [r - h, -r], [r, h - r], [h, 0], [r, r - h], [r - h, r], [0, h], [h - r, r], [-r, r - h], [-h, 0], [-r, h - r], [h - r, -r]];
  return `M${points.map((p) => p.join(",")).join("L")}z`;
}
function polygon(n, r) {
  const corner = (i) => [r * Math.sin(2 * Math.PI * i / n), -r * Math.cos(2 * Math.PI * i / n)];
  return `M${[...Array(n).keys()].map((i) => corner(i).map((v) => v.toFixed(2)).join(",")).join("L")}z`;
}
const LOOKS = new Map(DATA.series.map((look) => [look.name, look]));
const INK = { slot: "ink", marker: "o", line: 0 };

function colour(look) {
  return look.slot === "ink" ? "var(--ink)" : look.slot === null ? "var(--grey)" : `var(--s${look.slot})`;
}
function lookOf(group) {
  return group.role === "pruned" ? LOOKS.get(group.method) || INK : INK;
}
function marker(look, r, hollow = false) {
  const inside = hollow || look.slot === null ? "var(--paper)" : colour(look);
  const edge = hollow || look.slot === null ? colour(look) : "var(--paper)";
  return svg("path", { d: SHAPES[look.marker](r), style: `fill:${inside};stroke:${edge}`, "stroke-width": hollow ? 1.6 : 1 });
}
function swatch(look) {
  const line = svg("line", { x1: 0, x2: 26, y1: 7, y2: 7, style: `stroke:${colour(look)}`, "stroke-width": 2, "stroke-dasharray": DASHES[look.line] });
  return svg("svg", { width: 26, height: 14, viewBox: "0 0 26 14", "aria-hidden": "true" }, line,
    svg("g", { transform: "translate(13,7)" }, marker(look, 4.5)));
}

// ---- what the reader chose; all figures follow ----
const hidden = new Set();
const groupsOf = (method) =>
  DATA.groups.map((group, place) => ({ ...group, place })).filter((g) => g.role === "pruned" && g.method === method)
    .sort((a, b) => a.sparsity - b.sparsity);
const visible = () => DATA.series.filter((look) => !hidden.has(look.name));
const levels = [...new Map(DATA.groups.filter((g) => g.role === "pruned").map((g) => [g.sparsity, g.at])).entries()]
  .sort((a, b) => a[0] - b[0]);
const middle = levels.length ? levels[levels.length >> 1][0] : 0;
const dense = DATA.groups.findIndex((group) => group.role === "dense");
const say = (text) => { one("#live").textContent = text; };
