// Draws the figures that Altair made, sorts and copies tables, and keeps the theme.
const all = (selector) => [...document.querySelectorAll(selector)];
const say = (text) => { document.getElementById("live").textContent = text; };
const specs = JSON.parse(document.getElementById("data").textContent);
const views = new Map();

async function draw(box) {
  if (box.dataset.drawn) return;
  box.dataset.drawn = "yes";
  const options = { ast: true, logLevel: 1, renderer: "svg", actions: { export: { svg: true, png: true }, source: false, compiled: false, editor: false } };
  const { view } = await window.vegaEmbed(box, specs[box.dataset.figure][Number(box.dataset.place)], { ...options, downloadFileName: box.dataset.figure });
  box.style.minHeight = "0";
  const other = [...views].find(([drawn]) => drawn.dataset.figure === box.dataset.figure);
  if (other && document.querySelector(`.axes[data-figure="${box.dataset.figure}"]`)) view.signal("logarithmic", other[1].signal("logarithmic")).run();
  views.set(box, view);
  label(box.dataset.figure, view);
}
const seen = new IntersectionObserver((entries) => entries.forEach((entry) => entry.isIntersecting && draw(entry.target)), { rootMargin: "600px" });
all(".plot").forEach((box) => seen.observe(box));
addEventListener("beforeprint", () => all(".plot").forEach(draw));

function label(name, view) {
  const button = document.querySelector(`.axes[data-figure="${name}"]`);
  if (!button) return;
  button.hidden = false;
  button.textContent = view.signal("logarithmic") ? "Axes: logarithmic" : "Axes: linear";
}
function switchAxes(button) {
  const drawn = [...views].filter(([box]) => box.dataset.figure === button.dataset.figure).map(([, view]) => view);
  const to = !drawn[0].signal("logarithmic");
  drawn.forEach((view) => view.signal("logarithmic", to).run());
  label(button.dataset.figure, drawn[0]);
}

const textOf = (cell) => cell.textContent.replace(/\s+/g, " ").trim();
function valueOf(text) {
  const found = text.replace(/\u2212/g, "-").replace(/(\d)[\s\u00a0](?=\d{3}(\D|$))/g, "$1").match(/^[-+]?\d[\d.]*/);
  return found ? Number(found[0]) : null;
}
function sortBy(button) {
  const header = button.closest("th");
  const body = button.closest("table").tBodies[0];
  const column = header.cellIndex;
  const turn = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of header.parentNode.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", turn < 0 ? "descending" : "ascending");
  body.append(...[...body.rows].sort((one, two) => {
    const [a, b] = [textOf(one.cells[column]), textOf(two.cells[column])];
    const [x, y] = [valueOf(a), valueOf(b)];
    if ((x === null) !== (y === null)) return x === null ? 1 : -1; // what is no number stands last
    return turn * (x !== null && x !== y ? x - y : a.localeCompare(b, "en", { numeric: true }));
  }));
}
async function copyTable(button) {
  const rows = [...document.getElementById(button.dataset.table).rows];
  await navigator.clipboard.writeText(rows.map((row) => [...row.cells].map(textOf).join("\t")).join("\n"));
  say("Copied");
  button.textContent = "Copied";
}
all(".copy").forEach((button) => { button.hidden = !navigator.clipboard; });

const THEMES = ["auto", "light", "dark"];
const theme = document.getElementById("theme");
function setTheme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  theme.textContent = `Theme: ${name}`;
  theme.dataset.now = name;
}
setTheme("auto");
theme.hidden = false;
document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button === theme) setTheme(THEMES[(THEMES.indexOf(theme.dataset.now) + 1) % THEMES.length]);
  else if (button.classList.contains("sort")) sortBy(button);
  else if (button.classList.contains("axes")) switchAxes(button);
  else if (button.classList.contains("copy")) copyTable(button);
});
