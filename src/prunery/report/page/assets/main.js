// What the reader does: theme, sorting, copying, panels; where in the page they are; printing.
const THEMES = ["auto", "light", "dark"];
function kept(value) {
  try {
    if (value) localStorage.setItem("prunery-theme", value);
    return localStorage.getItem("prunery-theme") || "auto";
  } catch {
    return value || "auto";
  }
}
function setTheme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  one("#theme").textContent = `Theme: ${name}`;
  one("#theme").dataset.now = name;
}
setTheme(THEMES.includes(kept()) ? kept() : "auto");
one("#theme").hidden = false;
one("#theme").addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(one("#theme").dataset.now) + 1) % THEMES.length];
  kept(next);
  setTheme(next);
});

allCells();
document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.classList.contains("sort")) sortBy(button);
  else if (button.classList.contains("why")) openWhy(Number(button.dataset.group), button);
  else if (button.dataset.do === "figure") savedFigure(button);
  else if (button.closest(".tools")) exported(button);
  else if (button.classList.contains("close")) one("#why").close();
});
one("#why").addEventListener("click", (event) => { if (event.target === one("#why")) one("#why").close(); });
one("#why").addEventListener("close", () => { if (returnTo && returnTo.isConnected) returnTo.focus(); });

// the section that is being read, marked in the contents
const links = new Map(all(".toc a").map((link) => [link.getAttribute("href").slice(1), link]));
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    links.forEach((link) => link.removeAttribute("aria-current"));
    links.get(entry.target.id).setAttribute("aria-current", "location");
  }
}, { rootMargin: "-15% 0px -75% 0px" });
all("main > section").forEach((section) => seen.observe(section));
const narrow = matchMedia("(max-width: 62rem)");
const fold = () => { one(".toc details").open = !narrow.matches; };
fold();
narrow.addEventListener("change", fold);
all(".toc a").forEach((link) => link.addEventListener("click", () => narrow.matches && fold()));

// on paper: what is folded is shown, and figures take the paper's width
let opened = [];
addEventListener("beforeprint", () => {
  opened = all("details.spec").filter((box) => !box.open);
  opened.forEach((box) => { box.open = true; });
});
addEventListener("afterprint", () => opened.forEach((box) => { box.open = false; }));
