// Training curves of one seed: validation accuracy above, training loss below, cuts marked.
function curvesAt(state) {
  const found = DATA.curves.paths.map(([place, seed, path]) => ({ group: DATA.groups[place], place, seed, path }));
  const shown = (f) => f.group.role === "dense"
    || (f.group.role === "pruned" && f.group.sparsity === state.at && !hidden.has(f.group.method));
  // the dense network last: what others share with it is seen as its own
  return found.filter((f) => f.seed === state.seed && shown(f)).map((f) => ({ ...f, look: lookOf(f.group), ...unrolled(f.path) }))
    .sort((a, b) => (a.group.role === "dense") - (b.group.role === "dense"));
}

// A path as phases of {start, loss, top1} along the epochs of the whole way, and the epochs of its cuts.
function unrolled(path) {
  const [phases, cuts] = [[], []];
  let epoch = 0;
  for (const part of path) {
    if (typeof part === "object") { cuts.push({ epoch, sparsity: part.cut }); continue; }
    const { loss, top1, test = [] } = DATA.curves.steps[part];
    phases.push({ start: epoch, loss, top1, test });
    epoch += loss.length;
  }
  return { phases, cuts, epochs: epoch };
}

function drawCurves(plot, width, state) {
  const found = curvesAt(state);
  const last = Math.max(1, ...found.map((f) => f.epochs));
  if (!found.some((f) => f.phases.length)) { plot.append(el("p", { class: "note" }, "No training of these cells has a record.")); return; }
  const margin = { left: 48, right: 12, top: 30, bottom: 44 };
  const x = { ...linearScale(0, last, (v) => trimmed(v, 1)), ticks: (room) => steps(0, last, Math.min(last, room / 60)) };
  const panel = (name, title, height, scale) => {
    const values = found.flatMap((f) => f.phases.flatMap((phase) => phase[name])).filter((v) => !missing(v) && (name !== "loss" || v > 0));
    if (!values.length) { plot.append(el("p", { class: "note" }, `${title}: not recorded.`)); return; }
    const area = canvas(plot, width, height, margin, `${title} after each epoch, seed ${state.seed}. Arrow keys move between the ends of the lines.`);
    const y = scale(values);
    axes(area, x, y, "training epochs from the initial weights", title);
    drawPhases(area, x, y, name, found);
    drawCuts(area, x, found);
    const box = el("div", { class: "plot" });
    box.append(area.root);
    plot.append(box);
    walkable(box, area, curveEnds(area, x, y, name, title, found), margin);
  };
  panel("top1", "Validation top-1 accuracy, %", 340, (v) => accuracyScale(v, state.up === "log"));
  if (found.some((f) => f.phases.some((phase) => phase.test.length)))
    panel("test", "Test top-1 accuracy, % (a diagnostic: nothing was chosen by it)", 260, (v) => accuracyScale(v, state.up === "log"));
  panel("loss", "Training loss, nats (log axis)", 260, (v) => logScaleUp(v));
}
function logScaleUp(values) {
  const scale = logScale(values, (v) => trimmed(v, 4));
  return { ...scale, ticks: (room) => apart(decades(scale.low, scale.high), scale.at, 34 / room) };
}
function drawPhases(area, x, y, name, found) {
  for (const f of found) {
    const layer = svg("g", { "data-of": f.group.method, "aria-hidden": "true" });
    let before = null;
    for (const phase of f.phases) {
      const at = phase[name].map((v, i) => [x.at(phase.start + i + 1) * area.width, missing(v) || (name === "loss" && v <= 0) ? null : area.height - y.at(v) * area.height]);
      const known = at.filter(([, up]) => up !== null);
      if (before && known.length) layer.append(path([before, known[0]], { style: `stroke:${colour(f.look)}`, "stroke-width": 1, "stroke-dasharray": "1 3" }));
      before = known[known.length - 1] || before;
      if (known.length > 1) layer.append(path(known, { style: `stroke:${colour(f.look)}`, "stroke-width": 1.8, "stroke-dasharray": DASHES[f.look.line], "stroke-linejoin": "round" }));
      for (const [a, b] of known.length < 13 ? known : []) layer.append(svg("circle", { cx: a, cy: b, r: 2.2, style: `fill:${colour(f.look)}` }));
    }
    area.g.append(layer);
  }
}
function drawCuts(area, x, found) {
  const rows = found.filter((f) => f.cuts.length);
  const stacked = new Map();
  for (const f of rows) for (const cut of f.cuts) {
    const lift = stacked.get(cut.epoch) || 0;
    stacked.set(cut.epoch, lift + 1);
    const at = x.at(cut.epoch) * area.width;
    if (!lift) area.g.append(svg("line", { x1: at, x2: at, y1: 0, y2: area.height, style: "stroke:var(--soft)", "stroke-dasharray": "2 4", opacity: .55, "aria-hidden": "true" }));
    area.g.append(svg("path", { d: "M0,0L5,8H-5z", transform: `translate(${at},${area.height - 9 - 10 * Math.min(lift, 12)})`, style: `fill:${colour(f.look)}`, "data-of": f.group.method, class: "cut" },
      svg("title", {}, `${f.group.method}: cut to ${trimmed(100 * cut.sparsity, 4)} % after ${cut.epoch} epochs`)));
  }
}
function curveEnds(area, x, y, name, title, found) {
  const points = [];
  found.forEach((f, row) => {
    const phase = f.phases[f.phases.length - 1];
    const value = phase && phase[name][phase[name].length - 1];
    if (!phase || missing(value)) return;
    const cuts = f.cuts.length ? [`cut after ${f.cuts.map((c) => c.epoch).join(", ")} epochs`] : [];
    points.push(point({ at: [x.at(phase.start + phase[name].length) * area.width, area.height - y.at(value) * area.height],
      text: [`${f.group.label}, seed ${f.seed}`, `${title}: ${trimmed(value, 4)}`, ...cuts], open: f.place, of: f.group.method, mark: marker(f.look, 4.5), row, column: 0 }));
  });
  return points;
}
chart("curves", {
  setup: (box, state, redraw) => {
    const seeds = [...new Set(DATA.curves.paths.map((p) => p[1]))].sort((a, b) => a - b);
    state.at = middle;
    pick(box, "Sparsity", "at", levels, state, redraw);
    pick(box, "Seed", "seed", seeds.map((s) => [s, String(s)]), state, redraw);
    choice(box, "Accuracy axis", "up", [["log", "log error"], ["linear", "linear"]], state, redraw);
  },
  draw: drawCurves,
  numbers: (state) => ({
    header: ["method", "phase", "epoch", "validation top-1, %", "training loss, nats"],
    rows: curvesAt(state).flatMap((f) => f.phases.flatMap((phase, k) => phase.loss.map((loss, i) =>
      [f.group.label, String(k + 1), String(phase.start + i + 1), missing(phase.top1[i]) ? "-" : fixed(phase.top1[i]), missing(loss) ? "-" : String(loss)]))),
  }),
});
