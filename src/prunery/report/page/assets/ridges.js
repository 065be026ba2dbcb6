// Histograms of the kept weights, one ridge per layer; the dense network's as an outline behind.
const heightsOf = (code) => [...code].map((letter) => DATA.alphabet.indexOf(letter) / (DATA.alphabet.length - 1));
const ridgeOf = ([name, low, high, code, kept, total, odd]) => ({ name, low, high, heights: heightsOf(code), kept, total, odd });

function ridgePath(ridge, x, base, tall) {
  const step = (ridge.high - ridge.low) / ridge.heights.length;
  const at = [[x(ridge.low), base]];
  ridge.heights.forEach((h, i) => {
    const [a, b] = [x(ridge.low + i * step), x(ridge.low + (i + 1) * step)];
    at.push([a, base - tall * h], [b, base - tall * h]);
  });
  at.push([x(ridge.high), base]);
  return at;
}
function drawRidges(plot, width, state) {
  const { layers, seed } = DATA.histograms[state.group];
  const rows = layers.map(ridgeOf);
  const behind = new Map(((DATA.histograms[dense] || {}).layers || []).map(ridgeOf).map((r) => [r.name, r]));
  const [gap, tall] = rows.length > 12 ? [30, 36] : [46, 52];
  const margin = { left: Math.min(width * .34, 22 + 6.8 * Math.max(...rows.map((r) => layerName(r.name).length))), right: width > 620 ? 92 : 12, top: tall - gap + 26, bottom: 46 };
  const height = gap * rows.length;
  const area = canvas(plot, width, height + margin.top + margin.bottom, margin,
    `Histograms of the kept weights of ${rows.length} layers, ${DATA.groups[state.group].label}, seed ${seed}. Arrow keys move between layers.`);
  const widest = Math.max(1e-9, ...rows.map((r) => Math.max(Math.abs(r.low || 0), Math.abs(r.high || 0))));
  const reach = (r) => (state.axis === "own" ? Math.max(Math.abs(r.low || 0), Math.abs(r.high || 0)) || 1 : widest);
  const x = (r) => (v) => (Math.max(-1.02, Math.min(1.02, v / reach(r))) + 1.02) / 2.04 * area.width;
  ridgeAxis(area, height, state, widest, x(rows[0]));
  const points = rows.map((r, i) => drawRidge(area, r, i, { gap, tall, x: x(r), behind: behind.get(r.name), wide: width > 620, dense: state.group === dense }));
  walkable(plot, area, points, margin);
}
function ridgeAxis(area, height, state, widest, x) {
  const back = svg("g", { "aria-hidden": "true" });
  const shared = state.axis !== "own";
  const ticks = shared ? steps(-widest, widest, area.width / 80) : [-widest, 0, widest];
  for (const tick of ticks) {
    const at = shared ? x(tick) : (Math.sign(tick) + 1.02) / 2.04 * area.width;
    const text = shared ? trimmed(tick, 4) : ["−largest", "0", "+largest"][Math.sign(tick) + 1];
    back.append(svg("line", { class: tick === 0 ? "zero" : "grid", x1: at, x2: at, y1: 0, y2: height }),
      svg("text", { x: at, y: height + 18, "text-anchor": "middle" }, text.replace("-", "−")));
  }
  back.append(svg("text", { x: area.width, y: height + 38, "text-anchor": "end" }, shared ? "weight" : "weight, relative to the layer's largest"));
  area.g.append(back);
}
function drawRidge(area, r, i, { gap, tall, x, behind, wide, dense: isDense }) {
  const base = gap * (i + 1);
  const tint = isDense ? "var(--grey)" : "var(--s0)";
  const layer = svg("g", { class: "ridge", "data-layer": r.name, "aria-hidden": "true" });
  layer.append(svg("line", { class: "zero", x1: 0, x2: area.width, y1: base, y2: base }));
  if (r.kept && r.heights.length) layer.append(path(ridgePath(r, x, base, tall), { style: "fill:var(--paper)" }), path(ridgePath(r, x, base, tall), { style: `fill:${tint};stroke:${tint}`, "fill-opacity": .38, "stroke-width": 1.2 }));
  if (behind && !isDense) layer.append(path(ridgePath(behind, x, base, tall), { style: "stroke:var(--grey)", "stroke-width": 1, opacity: .75 }));
  layer.append(svg("text", { class: "strong", x: -10, y: base - 3, "text-anchor": "end" }, layerName(r.name)));
  const left = r.total ? `${share(r.kept / r.total)} % left` : "";
  if (wide) layer.append(svg("text", { x: area.width + 10, y: base - 3 }, r.kept ? left : "empty"));
  area.g.append(layer);
  const text = [layerName(r.name), `${r.kept} of ${r.total} weights are left`, r.kept ? `from ${r.low} to ${r.high}` : "no weight is left", ...(r.odd ? [`${r.odd} are not finite`] : [])];
  const spot = point({ at: [area.width / 2, base - gap / 2], text, open: null, of: "ridges", mark: svg("g", {}), row: 0, column: 0 });
  spot.node.firstChild.remove();
  spot.node.prepend(svg("rect", { class: "hit", x: -area.width / 2, y: -gap / 2, width: area.width, height: gap }));
  return spot;
}
chart("weights", {
  legend: false,
  setup: (box, state, redraw) => {
    const options = measuredGroups(DATA.histograms);
    const first = options.find(([i]) => DATA.groups[i].role === "pruned" && DATA.groups[i].sparsity === middle);
    if (first) state.group = first[0];
    pick(box, "Method and sparsity", "group", options, state, redraw);
    choice(box, "Weight axis", "axis", [["shared", "the same for all"], ["own", "each layer's own"]], state, redraw);
  },
  draw: drawRidges,
  numbers: (state) => ({
    header: ["layer", "kept", "all", "left, %", "lowest", "highest", "not finite"],
    rows: DATA.histograms[state.group].layers.map(ridgeOf).map((r) => [layerName(r.name), String(r.kept), String(r.total), r.total ? trimmed(100 * r.kept / r.total, 4) : "-",
      missing(r.low) ? "-" : String(r.low), missing(r.high) ? "-" : String(r.high), String(r.odd || 0)]),
  }),
});
