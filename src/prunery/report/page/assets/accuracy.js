// Accuracy against sparsity: means with bands, broken cells by name, published values as hollow marks.
function broken(group) {
  return ["collapsed", "diverged", "failed", "blocked", "missing"]
    .map((status) => [status, group.runs.filter((run) => run.status === status).length])
    .filter(([, count]) => count).map(([status, count]) => `${status} ${count}/${group.runs.length}`).join(", ");
}
function pointText(group, point, name) {
  if (!point.sound) return [group.label, broken(group), missing(point.mean) ? "no number" : `${point.text} % without them, n = ${point.n}`];
  const more = broken(group);
  return [group.label, `${name}: ${point.text} %`, `${interval(point)}, n = ${point.n}`, ...(more ? [more] : [])];
}

// The axis that shows every seed and every published value, and where it can the ends of the intervals.
function scaleFor(metric, looks, rows, log) {
  const points = looks.flatMap((look) => groupsOf(look.name).map((g) => metric.points[g.place]));
  if (dense >= 0) points.push(metric.points[dense]);
  const values = points.flatMap((p) => p.runs.map((run) => run[1])).concat(rows.map((row) => row.value));
  const ends = points.filter((p) => p.sound && !missing(p.low)).flatMap((p) => [p.low, p.high]);
  return accuracyScale(values.length ? values : [0, 100], log, ends);
}

const LETTER = 7.2; // pixels, of the labels at the right
function drawAccuracy(plot, width, state) {
  const metric = DATA.metrics.find((m) => m.id === state.metric);
  const looks = visible();
  const rows = DATA.published.filter((row) => row.column === metric.id && !hidden.has(row.method));
  const x = sparsityScale([...levels.map(([s]) => s), ...rows.map((row) => row.sparsity).filter((s) => s > 0)], state.across === "log");
  const y = scaleFor(metric, looks, rows, state.up === "log");
  const wide = width > 620;
  const names = Math.max(5, ...looks.map((l) => l.name.length));
  const margin = { left: 44, right: wide ? Math.min(Math.max(210, .27 * width), 34 + LETTER * names) : 10, top: 30, bottom: 62 };
  const area = canvas(plot, width, wide ? 480 : 400, margin,
    `Test ${metric.name} accuracy against sparsity for ${looks.length} methods. Arrow keys move between points, Enter opens one.`);
  axes(area, x, y, state.across === "log" ? "sparsity (log axis of the density)" : "sparsity", `Test ${metric.name} accuracy, %${state.up === "log" ? " (log axis of the error)" : ""}`);
  const clip = svg("clipPath", { id: "inside-accuracy" }, svg("rect", { x: 0, y: -4, width: area.width, height: area.height + 8 }));
  const inside = svg("g", { "clip-path": "url(#inside-accuracy)", "aria-hidden": "true" });
  area.g.append(clip, inside);
  const place = { x: (s) => x.at(s) * area.width, y: (v) => area.height - y.at(v) * area.height };
  references(inside, area, metric, place);
  const points = [];
  looks.forEach((look, row) => drawSeries(inside, area, place, metric, look, row, points));
  rows.forEach((row) => points.push(publishedPoint(row, place, looks.length, points.length)));
  if (wide) endLabels(area, place, metric, looks, Math.floor((margin.right - 20) / LETTER));
  walkable(plot, area, points, margin);
}
function references(inside, area, metric, place) {
  const level = metric.chance;
  if (!missing(level) && place.y(level) < area.height && place.y(level) > 0) {
    inside.append(svg("line", { x1: 0, x2: area.width, y1: place.y(level), y2: place.y(level), style: "stroke:var(--grey)", "stroke-dasharray": "2 4" }),
      svg("text", { x: 4, y: place.y(level) - 5 }, `chance ${trimmed(level, 2)} %`));
  }
  const own = dense >= 0 ? metric.points[dense] : null;
  if (!own || missing(own.mean)) return;
  if (!missing(own.low)) {
    const [top, foot] = [place.y(own.high), place.y(own.low)];
    inside.append(svg("rect", { x: 0, width: area.width, y: top, height: Math.max(1, foot - top), style: "fill:var(--ink)", opacity: .13 }));
  }
  inside.append(svg("line", { x1: 0, x2: area.width, y1: place.y(own.mean), y2: place.y(own.mean), style: "stroke:var(--ink)", "stroke-width": 1.3 }));
}
function drawSeries(inside, area, place, metric, look, row, points) {
  const own = groupsOf(look.name).map((group) => ({ group, p: metric.points[group.place] }));
  const layer = svg("g", { "data-of": look.name });
  inside.append(layer);
  for (const part of parts(own)) {
    const at = part.map(({ group, p }) => [place.x(group.sparsity), place.y(p.mean)]);
    const high = part.filter(({ p }) => !missing(p.low));
    if (high.length > 1) {
      const rim = [...high.map(({ group, p }) => [place.x(group.sparsity), place.y(p.high)]),
        ...high.reverse().map(({ group, p }) => [place.x(group.sparsity), place.y(p.low)])];
      layer.append(path(rim, { style: `fill:${colour(look)}`, opacity: .14 }));
    } else if (high.length) {
      const [{ group, p }] = high;
      layer.append(path([[place.x(group.sparsity), place.y(p.low)], [place.x(group.sparsity), place.y(p.high)]], { style: `stroke:${colour(look)}`, "stroke-width": 3, opacity: .4 }));
    }
    layer.append(path(at, { style: `stroke:${colour(look)}`, "stroke-width": 2, "stroke-dasharray": DASHES[look.line], "stroke-linejoin": "round" }));
  }
  own.forEach(({ group, p }, column) => {
    const across = place.x(group.sparsity);
    const text = pointText(group, p, `test ${metric.name}`);
    const common = { text, open: group.place, of: look.name, row, column: levels.findIndex(([s]) => s === group.sparsity) };
    if (p.sound) points.push(point({ ...common, at: [across, place.y(p.mean)], mark: marker(look, 5) }));
    else brokenPoints(area, place, look, p, row, across, common, points);
  });
}

// A line's stretches between cells that have no sound mean.
function parts(own) {
  const found = [[]];
  for (const entry of own) {
    if (entry.p.sound && !missing(entry.p.mean)) found[found.length - 1].push(entry);
    else if (found[found.length - 1].length) found.push([]);
  }
  return found.filter((part) => part.length);
}
function brokenPoints(area, place, look, p, row, across, common, points) {
  const fork = () => svg("path", { d: "M-5,-5L5,5M-5,5L5,-5", style: `stroke:${colour(look)}`, "stroke-width": 2.2, fill: "none" });
  for (const [, value, status] of p.runs.filter((run) => run[2] === "done")) {
    const spot = svg("g", { "data-of": look.name, transform: `translate(${across},${place.y(value)})`, "aria-hidden": "true" }, marker(look, 3.5, true));
    if (status) area.g.append(spot);
  }
  const fallen = p.runs.filter((run) => run[2] !== "done").map((run) => run[1]);
  if (!fallen.length) {
    const dash = svg("path", { d: "M-5,0H5", style: `stroke:${colour(look)}`, "stroke-width": 2.4 });
    points.push(point({ ...common, at: [across + 9 * (row - (DATA.series.length - 1) / 2), area.height - 3], mark: dash }));
    return;
  }
  fallen.forEach((value, i) => {
    const at = [across, place.y(value)];
    if (i === 0) points.push(point({ ...common, at, mark: fork() }));
    else area.g.append(svg("g", { "data-of": look.name, transform: `translate(${at})`, "aria-hidden": "true" }, fork()));
  });
}
function publishedPoint(row, place, at, column) {
  const look = LOOKS.get(row.method) || INK;
  const text = [`${row.method} at ${row.at}, published`, `${row.metric}: ${fixed(row.value)} %`, `n = ${row.n}${row.report ? `, ${row.report}` : ""}`, ...(row.note ? [row.note] : [])];
  return point({ at: [place.x(row.sparsity), place.y(row.value)], text, open: null, of: row.method, mark: marker({ ...look, marker: "d" }, 8, true), row: at, column });
}
function endLabels(area, place, metric, looks, letters) {
  const ends = looks.map((look) => ({ look, last: groupsOf(look.name).filter((g) => metric.points[g.place].sound).pop() }))
    .filter((entry) => entry.last).map(({ look, last }) => ({ text: look.name, of: look.name, tint: colour(look), y: place.y(metric.points[last.place].mean), from: place.x(last.sparsity) }));
  const own = dense >= 0 ? metric.points[dense] : null;
  if (own && !missing(own.mean)) ends.push({ text: "dense", of: "dense", tint: "var(--ink)", y: place.y(own.mean), from: area.width });
  const placed = spreadOut(ends.map((e) => e.y), 17, 0, area.height);
  ends.forEach((end, i) => {
    const lead = path([[end.from + 8, end.y], [area.width + 4, end.y], [area.width + 16, placed[i]]], { style: `stroke:${end.tint}`, "stroke-width": 1, "stroke-dasharray": "1 3", opacity: .8 });
    area.g.append(svg("g", { "data-of": end.of, "aria-hidden": "true" }, lead,
      svg("text", { class: "strong", x: area.width + 20, y: placed[i] + 4 }, end.text.length > letters ? `${end.text.slice(0, letters - 1)}…` : end.text)));
  });
}

const accuracyNumbers = (state) => {
  const metric = DATA.metrics.find((m) => m.id === state.metric);
  const rows = DATA.groups.map((g, i) => [g, metric.points[i], i]).filter(([g]) => g.role === "dense" || !hidden.has(g.method));
  return {
    header: ["method", "sparsity", `test ${metric.name}, %`, "low", "high", "n", "status"],
    rows: rows.map(([g, p]) => [g.method, g.at || "-", missing(p.mean) ? "-" : p.sound ? p.text : `${p.text} without them`, fixed(p.low), fixed(p.high), String(p.n || 0), broken(g) || "done"]),
    links: rows.map(([, , i]) => [null, null, i, null, null, null, null]),
  };
};
chart("accuracy", {
  setup: (box, state, redraw) => {
    choice(box, "Metric", "metric", DATA.metrics.map((m) => [m.id, m.name]), state, redraw);
    choice(box, "Sparsity axis", "across", [["log", "log density"], ["linear", "linear"]], state, redraw);
    choice(box, "Accuracy axis", "up", [["log", "log error"], ["linear", "linear"]], state, redraw);
  },
  draw: drawAccuracy,
  numbers: accuracyNumbers,
});
