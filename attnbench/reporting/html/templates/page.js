"use strict";

const figures = JSON.parse(document.getElementById("figures").textContent);
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star"];
const DASHES = ["solid", "dash", "dot", "dashdot"];
const KINDS = {
  slower: ["--bad", "triangle-up"], faster: ["--good", "triangle-down"],
  unclear: ["--doubt", "diamond"], same: ["--soft", "circle"],
};
const dark = matchMedia("(prefers-color-scheme: dark)");
const touched = matchMedia("(pointer: coarse)").matches;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/* A trace in the colours of the theme; one without slot and kind is a limit. */
function themed(trace) {
  const { slot, kind } = trace.meta ?? {};
  const [name, symbol] = kind ? KINDS[kind] : slot === undefined
    ? ["--soft", "circle"]
    : [`--s${slot % 8}`, SYMBOLS[slot % 8]];
  const dash = DASHES[(trace.mode === "lines" ? slot ?? 0 : Math.floor((slot ?? 0) / 8)) % 4];
  const own = { color: colour(name) };
  const bars = (error) => error && { ...error, ...own, thickness: 1.2, width: 3 };
  return {
    ...trace,
    line: { dash, width: 2, ...trace.line, ...own },
    marker: { symbol, size: 8, ...own },
    error_x: bars(trace.error_x),
    error_y: bars(trace.error_y),
  };
}

function axis(given) {
  return {
    automargin: true, gridcolor: colour("--grid"), linecolor: colour("--line"),
    zerolinecolor: colour("--soft"), ...given,
    tickfont: { size: innerWidth < 600 ? 11 : 13 }, title: { standoff: 10, ...given?.title },
  };
}

function draw(figure) {
  const choice = figure.querySelector("select")?.value ?? 0;
  const { data, layout } = figures[figure.id][choice];
  Plotly.react(figure.querySelector(".canvas"), data.map(themed), {
    height: 420, margin: { l: 56, r: 12, t: layout.title ? 44 : 12, b: 48 },
    showlegend: true, hovermode: "closest",
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0 },
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("--ink") },
    hoverlabel: { bgcolor: colour("--paper"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--soft"), activecolor: colour("--ink") },
    dragmode: touched ? false : "zoom",
    ...layout, title: { x: 0.01, font: { size: 14 }, ...layout.title },
    xaxis: axis({ tickangle: 0, ...layout.xaxis }), yaxis: axis(layout.yaxis),
  }, {
    responsive: true, displaylogo: false, displayModeBar: touched ? false : "hover",
    /* Listed explicitly: the default buttons include one that uploads the data. */
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]], showSendToCloud: false,
  });
  figure.classList.add("drawn");
}

/* A plot is drawn when it comes near the screen, so a long page opens at once. */
const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (isIntersecting) { near.unobserve(target); draw(target); }
  }
}, { rootMargin: "600px" });
for (const figure of document.querySelectorAll("figure.plot")) {
  near.observe(figure);
  figure.querySelector("select")?.addEventListener("change", () => draw(figure));
}
dark.addEventListener("change", () => document.querySelectorAll("figure.drawn").forEach(draw));
addEventListener("beforeprint", () => document.querySelectorAll("figure.plot").forEach(draw));

for (const figure of document.querySelectorAll("figure.winners")) {
  const maps = figure.querySelectorAll(".scroll");
  figure.querySelector("select")?.addEventListener("change", (event) => {
    maps.forEach((map, at) => { map.hidden = at !== Number(event.target.value); });
  });
}

for (const button of document.querySelectorAll("button.samples")) {
  button.addEventListener("click", () => {
    const figure = document.getElementById(button.dataset.plot);
    const select = figure.querySelector("select");
    if (select) select.value = button.dataset.choice;
    draw(figure);
    figure.scrollIntoView({ block: "center" });
    select?.focus({ preventScroll: true });
  });
}

/* Rows without a number come last in either sort order. */
function compared(a, b, sign) {
  const [x, y] = [a.dataset.order, b.dataset.order];
  if (x !== undefined && y !== undefined) return sign * (x - y);
  if (x !== undefined || y !== undefined) return x !== undefined ? -1 : 1;
  return sign * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
}

function sort(table, column) {
  const heads = [...table.tHead.rows[0].cells];
  const down = heads[column].ariaSort === "ascending";
  heads.forEach((head) => { if (head.ariaSort) head.ariaSort = "none"; });
  heads[column].ariaSort = down ? "descending" : "ascending";
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => compared(a.cells[column], b.cells[column], down ? -1 : 1));
  table.tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  table.tHead.querySelectorAll("[aria-sort] button").forEach((button, column) => {
    button.addEventListener("click", () => sort(table, column));
  });
}

for (const results of document.querySelectorAll(".results")) {
  const rows = [...results.querySelectorAll("tbody tr")];
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  results.querySelector("input").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/);
    rows.forEach((row) => { row.hidden = !words.every((word) => texts.get(row).includes(word)); });
    const shown = rows.filter((row) => !row.hidden).length;
    results.querySelector("output").textContent =
      shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
  });
}
