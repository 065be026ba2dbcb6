// A figure as a file of its own, for papers: as it is drawn now, in light colours, with its legend.
const KEPT = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "fill-opacity", "font-family", "font-size", "font-weight", "text-anchor"];
const DROPPED = ["class", "style", "tabindex", "role", "aria-label", "aria-hidden", "data-of"];
const ENTRY = 24; // pixels between two lines of a legend

// A copy whose looks are attributes: a file has no style sheet of ours.
function still(node) {
  const copy = node.cloneNode(false);
  if (node.nodeType !== Node.ELEMENT_NODE) return copy;
  const style = getComputedStyle(node);
  if (node.matches("path,line,circle,rect,text,tspan,polygon")) KEPT.forEach((name) => copy.setAttribute(name, style.getPropertyValue(name)));
  else if (style.opacity !== "1") copy.setAttribute("opacity", style.opacity);
  DROPPED.forEach((name) => copy.removeAttribute(name));
  copy.append(...[...node.childNodes].filter((child) => !(child.matches && child.matches(".hit,.halo"))).map(still));
  return copy;
}
function legendOf(figure, width) {
  const shown = all(".legend > *", figure).filter((entry) => entry.getAttribute("aria-pressed") !== "false");
  const g = svg("g", {});
  let [x, y] = [8, 8];
  for (const entry of shown) {
    const text = one("span", entry);
    const length = 34 + text.getBoundingClientRect().width + 22;
    if (x > 8 && x + length > width) [x, y] = [8, y + ENTRY];
    g.append(svg("g", { transform: `translate(${x},${y})` }, [...one("svg", entry).childNodes].map(still),
      svg("text", { x: 34, y: 12, "font-family": getComputedStyle(text).fontFamily, "font-size": "13px", fill: getComputedStyle(text).color }, text.textContent)));
    x += length;
  }
  return { g, height: shown.length ? y + ENTRY + 6 : 0 };
}
function picture(figure) {
  const parts = all(".plot svg", figure).map((node) => ({ node, width: Number(node.getAttribute("width")), height: Number(node.getAttribute("height")) }));
  const width = Math.max(...parts.map((part) => part.width));
  const legend = legendOf(figure, width);
  const root = svg("svg", { xmlns: NS, width }, svg("rect", { width: "100%", height: "100%", fill: "#fff" }), legend.g);
  let y = legend.height;
  for (const part of parts) {
    root.append(svg("g", { transform: `translate(0,${y})` }, [...part.node.childNodes].map(still)));
    y += part.height;
  }
  root.setAttribute("height", y);
  root.setAttribute("viewBox", `0 0 ${width} ${y}`);
  return { text: new XMLSerializer().serializeToString(root), width, height: y };
}
// Styles are read in light colours; nothing is painted in between.
function inLight(make) {
  const root = document.documentElement;
  const before = root.dataset.theme;
  root.dataset.theme = "light";
  try {
    return make();
  } finally {
    if (before === undefined) delete root.dataset.theme;
    else root.dataset.theme = before;
  }
}
async function pixels({ text, width, height }, scale = 3) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const sheet = el("canvas", { width: width * scale, height: height * scale });
  sheet.getContext("2d").drawImage(image, 0, 0, width * scale, height * scale);
  return new Promise((resolve) => { sheet.toBlob(resolve, "image/png"); });
}
async function savedFigure(button) {
  const figure = button.closest("figure");
  const name = `${DATA.study}-${figure.dataset.chart}.${button.dataset.as}`;
  const said = one(".said", button.closest(".tools"));
  const drawn = inLight(() => picture(figure));
  if (button.dataset.as === "svg") saved(drawn.text, name, "image/svg+xml");
  else saved(await pixels(drawn), name, "image/png");
  said.textContent = "Saved.";
}
all("figure.chart").forEach((figure) => { if (!one(".plot svg", figure)) one(".picture", figure).remove(); });
