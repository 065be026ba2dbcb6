// Accuracy against what it costs, with the Pareto front of what is shown.
function front(points) {
  const sorted = [...points].sort((a, b) => a.cost - b.cost || b.mean - a.mean);
  const kept = [];
  for (const p of sorted) if (!kept.length || p.mean > kept[kept.length - 1].mean) kept.push(p);
  return kept;
}
function costPoints(state) {
  const metric = DATA.metrics[0];
  const cost = DATA.costs.find((c) => c.id === state.cost);
  return DATA.groups.map((group, place) => ({ group, place, p: metric.points[place], cost: cost.values[place] }))
    .filter(({ group, p, cost: c }) => group.role !== "sanity" && p.sound && !missing(p.mean) && !missing(c) && c > 0
      && (group.role !== "pruned" || (!hidden.has(group.method) && (state.at === "all" || group.sparsity === state.at))))
    .map((entry) => ({ ...entry, mean: entry.p.mean }));
}

function drawCost(plot, width, state) {
  const cost = DATA.costs.find((c) => c.id === state.cost);
  const found = costPoints(state);
  if (!found.length) { plot.append(el("p", { class: "note" }, "Nothing that is shown has both a cost and a sound mean.")); return; }
  const margin = { left: 44, right: width > 620 ? 90 : 14, top: 30, bottom: 62 };
  const area = canvas(plot, width, width > 620 ? 420 : 360, margin, `Test top-1 accuracy against ${cost.name}, ${found.length} points. Arrow keys move between them.`);
  const x = logScale(found.map((f) => f.cost), compact);
  const y = accuracyScale(found.map((f) => f.mean), state.up === "log");
  axes(area, x, y, `${cost.name} (log axis)`, `Test top-1 accuracy, %${state.up === "log" ? " (log axis of the error)" : ""}`);
  const place = (f) => [x.at(f.cost) * area.width, area.height - y.at(f.mean) * area.height];
  const best = front(found);
  drawFront(area, best.map(place));
  const points = found.sort((a, b) => a.cost - b.cost).map((f, i) => {
    const look = lookOf(f.group);
    const mark = f.group.role === "dense_extra" ? marker({ ...INK, marker: "s" }, 4.5, true) : marker(look, 5);
    const text = [f.group.label, `test top-1: ${f.p.text} %, n = ${f.p.n}`, `${cost.name}: ${compact(f.cost)} ${cost.unit}`, ...(best.includes(f) ? ["on the Pareto front"] : [])];
    return point({ at: place(f), text, open: f.place, of: f.group.method, mark, row: 0, column: i });
  });
  walkable(plot, area, points, margin);
  if (width > 620) frontLabels(area, best, place);
}
function drawFront(area, at) {
  if (!at.length) return;
  const stairs = [[at[0][0], area.height]];
  at.forEach(([a, b], i) => { if (i) stairs.push([a, stairs[stairs.length - 1][1]]); stairs.push([a, b]); });
  stairs.push([area.width, at[at.length - 1][1]]);
  area.g.append(path(stairs, { class: "front", style: "stroke:var(--soft)", "stroke-width": 1.2, "stroke-dasharray": "1 0", "aria-hidden": "true" }));
}
function frontLabels(area, best, place) {
  let free = -Infinity;
  for (const f of best) {
    const [a, b] = place(f);
    const text = f.group.label;
    if (a + 9 < free || a + 9 + 6.4 * text.length > area.width + 88) continue;
    free = a + 20 + 6.4 * text.length;
    area.g.append(svg("text", { x: a + 9, y: b - 8, "aria-hidden": "true" }, text));
  }
}
chart("cost", {
  setup: (box, state, redraw) => {
    pick(box, "Cost", "cost", DATA.costs.map((c) => [c.id, c.name]), state, redraw);
    pick(box, "Sparsity", "at", [["all", "all"], ...levels], state, redraw);
    choice(box, "Accuracy axis", "up", [["log", "log error"], ["linear", "linear"]], state, redraw);
  },
  draw: drawCost,
  numbers: (state) => {
    const cost = DATA.costs.find((c) => c.id === state.cost);
    const found = costPoints(state);
    const best = front(found);
    return {
      header: ["method", "sparsity", `${cost.name}, ${cost.unit}`, "test top-1, %", "n", "on the front"],
      rows: found.map((f) => [f.group.method, f.group.at || "-", String(f.cost), f.p.text, String(f.p.n), best.includes(f) ? "yes" : "no"]),
      links: found.map((f) => [null, null, null, f.place, null, null]),
    };
  },
});
