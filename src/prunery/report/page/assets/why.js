// The panel that says where a number comes from: its seeds, values, notes and keys.
let returnTo = null;

function openWhy(place, from) {
  const panel = one("#why .panel");
  panel.replaceChildren(...whyOf(DATA.groups[place], place));
  returnTo = from;
  one("#why").showModal();
  panel.scrollTop = 0;
}
function whyOf(group, place) {
  const found = [el("h2", { id: "why-title" }, group.label), el("button", { type: "button", class: "close" }, "Close")];
  for (const metric of DATA.metrics) {
    const p = metric.points[place];
    const value = missing(p.mean) ? "no number" : p.sound ? `${p.text} %` : `${p.text} % without what broke`;
    const detail = missing(p.mean) ? "" : ` · ${interval(p)} · n = ${p.n}${missing(p.sd) ? "" : ` · standard deviation ${trimmed(p.sd, 3)}`}`;
    found.push(el("p", { class: "value" }, `${value} `, el("small", {}, `test ${metric.name}`)), el("p", {}, `${missing(metric.chance) ? "" : `Chance level ${trimmed(metric.chance, 2)} %`}${detail}`));
  }
  const trouble = broken(group);
  if (trouble) found.push(el("p", { class: "bad" }, `${trouble}: these enter no mean, and the group gets no verdict where a cell collapsed or diverged.`));
  if (group.epochs.length) found.push(el("p", {}, `Training epochs: ${group.epochs[0]} before the first cut, ${group.epochs[1]} after it.`));
  if (group.against.length) {
    found.push(el("h3", {}, "Paired by seed"), el("ul", {}, group.against.map(([name, mean, ends, verdict]) => el("li", {},
      `${mean} points ${ends} against ${name}`, verdict ? `: ${verdict}` : ": too few seeds for a verdict"))));
  }
  found.push(el("h3", {}, `${group.runs.length} ${group.runs.length === 1 ? "seed" : "seeds"}`), ...group.runs.map(runOf));
  return found;
}
function runOf(run) {
  const numbers = DATA.metrics.filter((m) => !missing(run[m.id])).map((m) => `${m.name} ${fixed(run[m.id])} %`);
  if (!missing(run.test_loss)) numbers.push(`loss ${run.test_loss}`);
  const head = el("div", { class: "head" }, el("b", {}, `seed ${run.seed}`), el("span", run.status === "done" ? {} : { class: "bad" }, run.status), el("span", {}, numbers.join(" · ")));
  const keys = [["dense", run.dense], ["control", run.extra]].filter(([, key]) => key && key !== run.key).map(([name, key]) => el("span", {}, `${name} `, el("span", { class: "mono" }, key), " "));
  return el("div", { class: "run" }, head, run.notes.map((note) => el("p", {}, note)), command(run.key), keys.length ? el("p", {}, "compared with ", keys) : null);
}
function command(key) {
  const text = `prunery why ${key}`;
  const button = el("button", { type: "button", "aria-label": `Copy ${text}`, onclick: async () => { button.textContent = await copied(text) ? "copied" : "not allowed"; } }, "copy");
  return el("p", { class: "command" }, el("code", {}, text), button);
}
