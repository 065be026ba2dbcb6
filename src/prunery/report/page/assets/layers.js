// Layers: their density as a heat map of methods and layers, and their MACs as dots on a log axis.
const layerGroups = (at) => visible().map((look) => groupsOf(look.name).find((g) => g.sparsity === at))
  .filter((g) => g && DATA.layers.groups[g.place]);
const layerName = (name) => name.replace(/\.weight$/, "");

function densities(state) {
  const whole = DATA.layers.dense.params_dense;
  return layerGroups(state.at).map((group) => ({
    group, values: DATA.layers.groups[group.place][`params_${state.kind}`].map((kept, i) => (missing(kept) || !whole[i] ? null : kept / whole[i])),
  }));
}
// 0 (least) to 1 (all): the logarithm of a density between the lowest one shown and 1.
function shade(value, low) {
  return low >= 1 ? 1 : Math.max(0, 1 - Math.log10(value) / Math.log10(low));
}
function drawDensity(plot, width, state) {
  const found = densities(state);
  if (!found.length) { plot.append(el("p", { class: "note" }, "No shown method was measured at this sparsity.")); return; }
  const low = Math.min(.5, ...found.flatMap((f) => f.values).filter((v) => v > 0));
  const cell = (value, f) => {
    if (missing(value)) return el("td", {}, "-");
    if (value === 0) return el("td", { class: "empty", title: `${f.group.label}: no weight is left` }, "0");
    const part = shade(value, low);
    const ink = part > .55 ? "var(--paper)" : "var(--ink)";
    return el("td", { style: `background:color-mix(in srgb, var(--heat) ${(8 + 92 * part).toFixed(0)}%, var(--paper));color:${ink}` }, share(value));
  };
  const rows = DATA.layers.names.map((name, i) => el("tr", {}, el("th", { scope: "row" }, layerName(name)), found.map((f) => cell(f.values[i], f))));
  const head = el("thead", {}, el("tr", {}, el("td", {}), found.map((f) => el("th", { scope: "col" }, el("button", { type: "button", class: "why", "data-group": f.group.place }, f.group.method)))));
  const at = levels.find(([s]) => s === state.at)[1];
  const caption = el("caption", { class: "hidden" }, `Weights that are left in each layer, in %, ${state.kind}, at ${at}`);
  plot.append(el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Density of each layer" }, el("table", { class: "heat" }, caption, head, el("tbody", {}, rows))));
  plot.append(el("p", { class: "ramp", "aria-hidden": "true" }, `${share(low)} %`,
    el("i", { style: "background:linear-gradient(90deg, color-mix(in srgb, var(--heat) 8%, var(--paper)), var(--heat))" }), "100 % of the layer"));
}
chart("density", {
  setup: (box, state, redraw) => {
    state.at = middle;
    pick(box, "Sparsity", "at", levels, state, redraw);
    choice(box, "Weights", "kind", [["kept", "kept"], ["effective", "effective"]], state, redraw);
  },
  draw: drawDensity,
  numbers: (state) => {
    const found = densities(state);
    return {
      header: ["layer", ...found.map((f) => f.group.method)],
      rows: DATA.layers.names.map((name, i) => [layerName(name), ...found.map((f) => (missing(f.values[i]) ? "-" : trimmed(100 * f.values[i], 4)))]),
    };
  },
});

const MACS = [["macs_dense", "dense", "M0,-7V7", "var(--soft)"], ["macs_kept", "kept", SHAPES.o(5.5), "var(--s0)"], ["macs_effective", "effective", SHAPES.D(2.6), "var(--s1)"]];
const MAC_STYLES = [(t) => `stroke:${t};stroke-width:2.5`, (t) => `fill:var(--paper);stroke:${t};stroke-width:1.6`, (t) => `fill:${t}`];
function macRows(state) {
  const group = DATA.layers.groups[state.group];
  const columns = [DATA.layers.dense.macs_dense, group ? group.macs_kept : [], group ? group.macs_effective : []];
  const sum = (values) => (values.some((v) => !missing(v)) ? values.reduce((a, b) => a + (b || 0), 0) : null);
  const layers = DATA.layers.names.map((name, i) => ({ name: layerName(name), values: columns.map((c) => (missing(c[i]) ? null : c[i])) }));
  return [{ name: "all layers", values: columns.map(sum), total: true }, ...layers];
}
function drawMacs(plot, width, state) {
  const rows = macRows(state);
  const known = rows.flatMap((row) => row.values).filter((v) => v > 0);
  if (!known.length) { plot.append(el("p", { class: "note" }, "No layer has a count of MACs.")); return; }
  const zero = rows.some((row) => row.values.includes(0));
  const margin = { left: Math.min(width * .38, 24 + 6.8 * Math.max(...rows.map((r) => r.name.length))), right: 14, top: 34, bottom: 46 };
  const height = 26 * rows.length;
  const area = canvas(plot, width, height + margin.top + margin.bottom, margin, `MACs per layer of ${DATA.groups[state.group].label}, on a log axis; the table below holds the numbers.`);
  const scale = logScale(known, compact);
  const across = (v) => (v > 0 ? (zero ? 22 : 0) + scale.at(v) * (area.width - (zero ? 22 : 0)) : 4);
  const back = svg("g", { "aria-hidden": "true" });
  for (const tick of scale.ticks(area.width)) {
    back.append(svg("line", { class: "grid", x1: across(tick), x2: across(tick), y1: 0, y2: height }), svg("text", { x: across(tick), y: height + 18, "text-anchor": "middle" }, scale.text(tick)));
  }
  if (zero) back.append(svg("text", { x: 4, y: height + 18, "text-anchor": "middle" }, "0"));
  back.append(svg("text", { x: area.width, y: height + 38, "text-anchor": "end" }, "MACs per example (log axis)"));
  area.g.append(back);
  const points = rows.map((row, i) => macRow(area, row, i, across));
  macLegend(area);
  walkable(plot, area, points, margin);
}
function macRow(area, row, i, across) {
  const y = 26 * i + 13;
  const known = row.values.filter((v) => !missing(v)).map(across);
  area.g.append(svg("text", { class: row.total ? "title" : "strong", x: -12, y: y + 4, "text-anchor": "end", "aria-hidden": "true" }, row.name));
  area.g.append(svg("line", { x1: Math.min(...known), x2: Math.max(...known), y1: y, y2: y, style: "stroke:var(--line)", "stroke-width": 2, "aria-hidden": "true" }));
  const marks = MACS.map(([, , d, tint], k) => (missing(row.values[k]) ? null
    : svg("path", { d, transform: `translate(${across(row.values[k])},0)`, style: MAC_STYLES[k](tint) })));
  const text = [row.name, ...MACS.map(([, name], k) => `${name}: ${compact(row.values[k])}`)];
  const spot = point({ at: [0, y], text, open: null, of: "macs", mark: svg("g", {}, marks), row: 0, column: i });
  spot.column = 0;
  spot.node.firstChild.remove();
  spot.node.prepend(svg("rect", { class: "hit", x: 0, y: -13, width: area.width, height: 26 }));
  return spot;
}
function macLegend(area) {
  MACS.forEach(([, name, d, tint], k) => {
    const at = [0, 74, 138][k];
    area.g.append(svg("g", { transform: `translate(${at + 8},-18)`, "aria-hidden": "true" },
      svg("path", { d, style: MAC_STYLES[k](tint) }), svg("text", { x: 11, y: 4 }, name)));
  });
}
const measuredGroups = (table) => DATA.groups.map((g, i) => [i, g.label]).filter(([i]) => table[i] && DATA.groups[i].role !== "dense_extra");
chart("macs", {
  legend: false,
  setup: (box, state, redraw) => {
    const options = measuredGroups(DATA.layers.groups);
    const first = options.find(([i]) => DATA.groups[i].role === "pruned" && DATA.groups[i].sparsity === middle);
    if (first) state.group = first[0];
    pick(box, "Method and sparsity", "group", options, state, redraw);
  },
  draw: drawMacs,
  numbers: (state) => ({
    header: ["layer", "dense", "kept", "effective", "effective, % of dense"],
    rows: macRows(state).map((row) => [row.name, ...row.values.map((v) => (missing(v) ? "-" : String(v))), row.values[0] && !missing(row.values[2]) ? trimmed(100 * row.values[2] / row.values[0], 3) : "-"]),
  }),
});
