// What every figure has: controls, a legend that hides methods, axes, points to hover and to walk through.
const charts = new Map();

function chart(name, { setup = () => {}, draw, numbers = null, legend = true }) {
  const figure = one(`#fig-${name}`);
  if (!figure) return;
  const own = { figure, plot: one(".plot", figure), state: {}, drawn: 0 };
  own.redraw = () => {
    if (legend) drawLegend(one(".legend", figure));
    own.drawn = own.plot.clientWidth;
    own.plot.replaceChildren();
    draw(own.plot, own.drawn || 640, own.state);
    const box = one(".numbers", figure);
    if (numbers && box && box.open) showNumbers();
  };
  const showNumbers = () => {
    const { header, rows, links } = numbers(own.state);
    one(".numbers > .scroll", figure).replaceChildren(tableOf(`fig-${name}`, header, rows, links));
  };
  if (numbers) one(".numbers", figure).addEventListener("toggle", () => one(".numbers", figure).open && showNumbers());
  else one(".numbers", figure).remove();
  setup(one(".controls", figure), own.state, own.redraw);
  charts.set(name, own);
  own.redraw();
  new ResizeObserver(() => { if (own.plot.clientWidth && own.plot.clientWidth !== own.drawn) own.redraw(); }).observe(own.plot);
}
const redrawAll = () => charts.forEach((own) => own.redraw());

// ---- controls ----
function choice(box, title, name, options, state, redraw) {
  if (missing(state[name])) state[name] = options[0][0];
  if (options.length < 2) return;
  const group = `${box.closest("figure").id}-${name}`;
  const radios = options.map(([value, text]) => el("label", {}, el("input", {
    type: "radio", name: group, value, checked: value === state[name],
    onchange: () => { state[name] = value; redraw(); },
  }), el("span", {}, text)));
  box.append(el("fieldset", { class: "choice" }, el("legend", {}, title), el("div", { class: "options" }, radios)));
}
function pick(box, title, name, options, state, redraw) {
  if (missing(state[name])) state[name] = options[0][0];
  if (options.length < 2) return;
  const entries = options.map(([value, text], i) => el("option", { value: i, selected: value === state[name] }, text));
  const list = el("select", { name, onchange: (e) => { state[name] = options[Number(e.target.value)][0]; redraw(); } }, entries);
  box.append(el("label", { class: "pick" }, el("span", {}, title), list));
}
function drawLegend(box) {
  const focused = document.activeElement && document.activeElement.dataset.series;
  const inside = box.contains(document.activeElement);
  box.replaceChildren(...DATA.series.map((look) => el("button", {
    type: "button", "aria-pressed": String(!hidden.has(look.name)), "data-series": look.name, title: "Show or hide",
    onclick: () => { if (!hidden.delete(look.name)) hidden.add(look.name); redrawAll(); },
    onmouseenter: () => emphasize(box, look.name), onmouseleave: () => emphasize(box, null),
  }, swatch(look), el("span", {}, look.name))));
  if (dense >= 0) box.append(el("span", { class: "still" }, swatch({ ...INK, marker: "o" }), el("span", {}, "dense")));
  if (inside) { const again = all("button", box).find((b) => b.dataset.series === focused); if (again) again.focus(); }
}
function emphasize(box, name) {
  const known = name !== null && !hidden.has(name);
  for (const node of all("[data-of]", box.closest("figure"))) node.classList.toggle("dim", known && node.dataset.of !== name);
}

// ---- axes ----
function canvas(plot, width, height, margin, label) {
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": label });
  plot.append(root);
  const inner = { width: width - margin.left - margin.right, height: height - margin.top - margin.bottom };
  const g = svg("g", { transform: `translate(${margin.left},${margin.top})` });
  root.append(g);
  return { root, g, ...inner };
}
function axes(area, x, y, xTitle, yTitle) {
  const { g, width, height } = area;
  const back = svg("g", { "aria-hidden": "true" });
  for (const tick of x.ticks(width)) {
    const at = x.at(tick) * width;
    back.append(svg("line", { class: "grid", x1: at, x2: at, y1: 0, y2: height }),
      svg("text", { x: at, y: height + 18, "text-anchor": "middle" }, x.text(tick)));
  }
  for (const tick of y.ticks(height)) {
    const at = height - y.at(tick) * height;
    back.append(svg("line", { class: "grid", x1: 0, x2: width, y1: at, y2: at }),
      svg("text", { x: -8, y: at + 4, "text-anchor": "end" }, y.text(tick)));
  }
  back.append(svg("text", { x: width, y: height + 38, "text-anchor": "end" }, xTitle),
    svg("text", { class: "title", x: -38, y: -14 }, yTitle));
  g.append(back);
}
const path = (points, attributes) => svg("path", { d: `M${points.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`).join("L")}`, fill: "none", ...attributes });

// ---- points: one tab stop for a figure, arrow keys move within it ----
function point({ at, text, open, of, mark, row, column }) {
  const node = svg("g", {
    class: "pt", transform: `translate(${at[0].toFixed(1)},${at[1].toFixed(1)})`, tabindex: -1,
    role: open === null ? "img" : "button", "aria-label": text.join(", "), "data-of": of,
  }, svg("circle", { class: "hit", r: 13 }), svg("circle", { class: "halo", r: 9 }), mark);
  return { node, at, text, open, row, column };
}
function walkable(plot, area, points, margin) {
  if (!points.length) return;
  const tip = el("div", { class: "tip", hidden: true, "aria-hidden": "true" });
  plot.append(tip);
  const show = (p) => {
    tip.replaceChildren(el("b", {}, p.text[0]), ...p.text.slice(1).flatMap((t) => [t, el("br")]));
    tip.hidden = false;
    const left = Math.min(Math.max(0, p.at[0] + margin.left - tip.offsetWidth / 2), Math.max(0, plot.clientWidth - tip.offsetWidth));
    const above = p.at[1] + margin.top - tip.offsetHeight - 14;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 0 ? above : p.at[1] + margin.top + 16}px`;
  };
  points.forEach((p, i) => {
    area.g.append(p.node);
    if (i === 0) p.node.setAttribute("tabindex", 0);
    p.node.addEventListener("mouseenter", () => { p.node.classList.add("on"); show(p); });
    p.node.addEventListener("mouseleave", () => { p.node.classList.remove("on"); tip.hidden = true; });
    p.node.addEventListener("focus", () => show(p));
    p.node.addEventListener("blur", () => { tip.hidden = true; });
    if (p.open !== null) p.node.addEventListener("click", () => openWhy(p.open, p.node));
    p.node.addEventListener("keydown", (event) => walk(event, points, p));
  });
}
function walk(event, points, from) {
  if (event.key === "Escape") { from.node.blur(); return; }
  if ((event.key === "Enter" || event.key === " ") && from.open !== null) {
    event.preventDefault();
    openWhy(from.open, from.node);
    return;
  }
  const to = target(event.key, points, from);
  if (!to) return;
  event.preventDefault();
  from.node.setAttribute("tabindex", -1);
  to.node.setAttribute("tabindex", 0);
  to.node.focus();
}
function target(key, points, from) {
  const beside = points.filter((p) => p.row === from.row).sort((a, b) => a.column - b.column);
  const stacked = points.filter((p) => p.column === from.column).sort((a, b) => a.at[1] - b.at[1]);
  const step = { ArrowRight: [beside, 1], ArrowLeft: [beside, -1], ArrowDown: [stacked, 1], ArrowUp: [stacked, -1] }[key];
  if (key === "Home") return points[0];
  if (key === "End") return points[points.length - 1];
  return step ? step[0][step[0].indexOf(from) + step[1]] : null;
}
