// Tables: sorted by any column, copied or saved as CSV, LaTeX or Markdown in the order they stand in.
const textOf = (cell) => cell.textContent.replace(/\s+/g, " ").trim();

function valueOf(text) {
  const found = text.replace(/\u2212/g, "-").replace(/(\d)[\s\u2009\u202f\u00a0](?=\d{3}(\D|$))/g, "$1").match(/^[-+]?\d[\d.]*(e[-+]?\d+)?/i);
  return found ? Number(found[0]) : null;
}
function compareTexts(a, b) {
  const [x, y] = [valueOf(a), valueOf(b)];
  if (x !== null && y !== null && x !== y) return x - y;
  if ((x === null) !== (y === null)) return x === null ? 1 : -1;
  return a.localeCompare(b, "en", { numeric: true });
}
function sortBy(button) {
  const header = button.closest("th");
  const table = button.closest("table");
  const column = [...header.parentNode.children].indexOf(header);
  const down = header.getAttribute("aria-sort") === "ascending";
  for (const other of header.parentNode.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows];
  // what is no number stands last in both directions
  const order = (a, b) => {
    const [s, t] = [textOf(a.cells[column]), textOf(b.cells[column])];
    return (valueOf(s) === null) !== (valueOf(t) === null) ? compareTexts(s, t) : (down ? -1 : 1) * compareTexts(s, t);
  };
  table.tBodies[0].append(...rows.sort(order));
  say(`Sorted by ${textOf(header)}, ${down ? "descending" : "ascending"}`);
}

// ---- as text ----
const cellsOf = (table) => [...table.rows].map((row) => [...row.cells].map(textOf));
const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);
const TEX = { "&": "\\&", "%": "\\%", $: "\\$", "#": "\\#", _: "\\_", "{": "\\{", "}": "\\}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "\\": "\\textbackslash{}", "±": "$\\pm$", "−": "$-$", "×": "$\\times$", "–": "--", "<": "$<$", ">": "$>$" };
const latexed = (text) => text.replace(/[&%$#_{}~^\\±−×–<>]/g, (letter) => TEX[letter]);
const FORMATS = {
  csv: { ending: "csv", type: "text/csv", of: (rows) => `${rows.map((row) => row.map(quoted).join(",")).join("\n")}\n` },
  markdown: { ending: "md", type: "text/markdown", of: (rows) => {
    const lines = rows.map((row) => `| ${row.map((text) => text.replace(/\|/g, "\\|")).join(" | ")} |`);
    lines.splice(1, 0, `|---|${"--:|".repeat(rows[0].length - 1)}`);
    return `${lines.join("\n")}\n`;
  } },
  latex: { ending: "tex", type: "text/x-tex", of: ([head, ...rows]) => {
    const line = (row) => `${row.map(latexed).join(" & ")} \\\\`;
    const body = ["\\toprule", line(head), "\\midrule", ...rows.map(line), "\\bottomrule"];
    return [`\\begin{tabular}{l${"r".repeat(head.length - 1)}}`, ...body, "\\end{tabular}", ""].join("\n");
  } },
};
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = el("textarea", { class: "hidden" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
function saved(text, name, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = el("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
async function exported(button) {
  const tools = button.closest(".tools");
  const table = one(`#table-${CSS.escape(tools.dataset.table)}`);
  const format = FORMATS[button.dataset.as];
  const said = one(".said", tools);
  if (!table) return;
  const text = format.of(cellsOf(table));
  if (button.dataset.do === "copy") {
    said.textContent = await copied(text) ? `Copied ${table.tBodies[0].rows.length} rows as ${button.textContent}.` : "The browser did not allow copying; download it instead.";
  } else {
    saved(text, `${DATA.study}-${tools.dataset.table}.${format.ending}`, format.type);
    said.textContent = "Saved.";
  }
}

// ---- tables that the page builds itself ----
function tableOf(id, header, rows, links = null, caption = "") {
  const head = el("thead", {}, el("tr", {}, header.map((name) => el("th", { scope: "col" }, el("button", { type: "button", class: "sort" }, name)))));
  const cell = (text, link, first) => el(first ? "th" : "td", first ? { scope: "row" } : {},
    missing(link) ? text : el("button", { type: "button", class: "why", "data-group": link }, text));
  const body = el("tbody", {}, rows.map((row, i) => el("tr", {}, row.map((text, k) => cell(text, links && links[i][k], k === 0)))));
  return el("table", { class: "data", id: `table-${id}` }, el("caption", caption ? {} : { class: "hidden" }, caption || "The numbers of the figure above"), head, body);
}
function allCells() {
  const named = DATA.metrics.map((m) => m.name);
  const header = ["method", "sparsity", "seed", "key", "status", ...named.map((n) => `${n}, %`), "loss, nats", "validation, %", "epochs", "seconds"];
  const rows = [];
  const links = [];
  DATA.groups.forEach((group, place) => group.runs.forEach((run) => {
    const values = [...DATA.metrics.map((m) => run[m.id]), run.test_loss, run.validation_top1, run.epochs, run.seconds];
    rows.push([group.method, group.at || "-", String(run.seed), run.key, run.status, ...values.map((v, i) => (missing(v) ? "-" : i < named.length || i === named.length + 1 ? fixed(v) : String(v)))]);
    links.push(header.map((name) => (name === "key" ? place : null)));
  }));
  const box = one("#all-cells");
  const scroll = el("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": "Every cell" }, tableOf("cells", header, rows, links, "Accuracies and loss are on the test split, but for validation: top-1 on the validation split."));
  const tools = one(".table-block .export").cloneNode(true);
  one(".tools", tools).dataset.table = "cells";
  tools.open = false;
  box.replaceChildren(el("div", { class: "table-block" }, scroll, tools));
}
