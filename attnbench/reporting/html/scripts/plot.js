/* Plots as SVG. A figure is
   { x, y: { label, log, ticks, range, rows }, title, height, zero: "x" or "y",
     series: [{ name, slot | kind | roof, x, y, low, high, across, line, band, notes }] }.
   low and high bound y, or x with `across`; `rows` names the places 0, 1, ... of y from the top.
   marks: [{ name, slot, x, low, high }] are crossovers, with the interval in which they lie. */
const SYMBOLS = [
  "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0Z", "M-3.6,-3.6H3.6V3.6H-3.6Z", "M0,-5L5,0L0,5L-5,0Z", "M0,-5L4.8,3.6H-4.8Z",
  "M0,5L4.8,-3.6H-4.8Z", "M-1.5,-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3Z", "M-4.6,-2.5L-2.5,-4.6L0,-2.1L2.5,-4.6L4.6,-2.5L2.1,0L4.6,2.5L2.5,4.6L0,2.1L-2.5,4.6L-4.6,2.5L-2.1,0Z",
  "M0,-5.4L1.5,-1.8L5.2,-1.6L2.4,0.9L3.3,4.6L0,2.6L-3.3,4.6L-2.4,0.9L-5.2,-1.6L-1.5,-1.8Z",
];
const DASHES = ["", "8 4", "2 3", "8 3 2 3", "12 4", "5 2", "1 2", "10 3 2 3 2 3"];
const KINDS = { slower: 3, faster: 4, unclear: 2, same: 0 };
const LINE = 15;  /* pixels of a line of words about a crossover */
const SINGLE = 2000;  /* with more points, each series is one path */

const slotOf = (series) => series.slot === undefined ? 0 : series.slot % 8;
const styleOf = (series) => series.roof ? `roof ${series.roof}` : series.kind ? `kind-${series.kind}` : `slot${slotOf(series)}`;
const symbolOf = (series) => SYMBOLS[series.kind ? KINDS[series.kind] ?? 0 : slotOf(series)];

function dashOf(series) {
  if (series.roof) return series.roof === "peak" ? "" : "6 4";
  return DASHES[((series.slot ?? 0) + Math.floor((series.slot ?? 0) / 8)) % 8];
}

/* Draw a figure into an element, in its width. */
function plot(canvas, figure, hidden = new Set()) {
  const width = Math.max(canvas.clientWidth, 280);
  const height = figure.height ?? (width < 500 ? 300 : 360);
  const shown = figure.series.filter((series) => !hidden.has(series.name));
  const crossed = (figure.marks ?? []).filter(({ name }) => !hidden.has(name));
  const frame = frameOf(figure, shown, width, height, crossed.length * LINE);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, width: "100%", class: "drawing", "aria-hidden": "true" });
  svg.append(...axesOf(figure, frame));
  svg.append(...crossed.map((mark, at) => crossoverOf(mark, at, frame)));
  const many = shown.reduce((sum, series) => sum + series.x.length, 0) > SINGLE;
  const marks = shape("svg", { x: frame.left - 6, y: frame.top - 6, width: frame.right - frame.left + 12, height: frame.bottom - frame.top + 12,
    viewBox: `${frame.left - 6} ${frame.top - 6} ${frame.right - frame.left + 12} ${frame.bottom - frame.top + 12}` });
  for (const series of shown) marks.append(marksOf(series, frame, many));
  svg.append(marks);
  canvas.replaceChildren(svg);
  svg.addEventListener("pointermove", (event) => hover(event, svg, figure, shown, frame, width));
  svg.addEventListener("pointerleave", () => { tip.hidden = true; });
}

function frameOf(figure, shown, width, height, strip) {
  const xs = shown.flatMap((s) => s.across ? [...s.x, ...(s.low ?? []), ...(s.high ?? [])] : s.x);
  const ys = shown.flatMap((s) => s.across ? s.y : [...s.y, ...(s.low ?? []), ...(s.high ?? [])]);
  const rows = figure.y.rows;
  const top = 12 + (figure.title ? 20 : 0) + (figure.y.label ? 16 : 0) + strip;
  const bottom = height - 44;
  const y = rows
    ? { at: (row) => top + (bottom - top) * (row + 0.5) / rows.length, ticks: rows.map((text, row) => [row, text]), log: false }
    : scaleOf(figure.y, ys, bottom, top);
  const longest = Math.max(0, ...y.ticks.map(([, text]) => text.length * CHARACTER));
  const left = Math.min(longest, width * 0.45) + 14;
  return { left, right: width - 14, top, bottom, width, height, strip, y, x: scaleOf(figure.x, xs, left + 8, width - 22) };
}

function axesOf(figure, { left, right, top, bottom, strip, x, y }) {
  const made = [];
  if (figure.title) made.push(shape("text", { x: 4, y: 16, class: "title", style: `font-size: ${Math.min(14, (right + 10) / figure.title.length / 0.56).toFixed(1)}px` }, figure.title));
  if (figure.y.label) made.push(shape("text", { x: 4, y: top - strip - 10, class: "label ylabel" }, figure.y.label));
  for (const [value, text] of x.ticks) {
    const at = x.at(value);
    made.push(shape("path", { d: `M${at},${top}V${bottom}`, class: "grid" }));
    made.push(shape("text", { x: at, y: bottom + 18, class: "tick xtick", "text-anchor": "middle", "data-value": value }, text));
  }
  for (const [value, text] of y.ticks) {
    const at = y.at(value);
    made.push(shape("path", { d: `M${left},${at}H${right}`, class: "grid" }));
    const kept = Math.floor((left - 14) / CHARACTER);
    const short = text.length > kept + 1 ? `${text.slice(0, kept - 1)}\u2026` : text;
    made.push(shape("text", { x: left - 6, y: at + 4, class: "tick ytick", "text-anchor": "end", "data-value": value }, short));
  }
  if (figure.zero === "x") made.push(shape("path", { d: `M${x.at(0)},${top}V${bottom}`, class: "zero" }));
  if (figure.zero === "y") made.push(shape("path", { d: `M${left},${y.at(0)}H${right}`, class: "zero" }));
  made.push(shape("path", { d: `M${left},${bottom}H${right}`, class: "axis" }));
  made.push(shape("text", { x: (left + right) / 2, y: bottom + 38, class: "label xlabel", "text-anchor": "middle" }, figure.x.label));
  return made;
}

function marksOf(series, frame, many) {
  const group = shape("g", { class: `series ${styleOf(series)}`, "data-name": series.name });
  const places = series.x.map((x, at) => [frame.x.at(x), frame.y.at(series.y[at])]);
  if (series.band) group.append(shape("path", { d: bandOf(series, frame), class: "band" }));
  if (series.line || series.roof) {
    const path = places.filter((_, at) => !isOpen(series, at)).map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join("L");
    group.append(shape("path", { d: `M${path}`, class: "line", "stroke-dasharray": dashOf(series) }));
  }
  if (series.low && !(many && series.kind === "same")) group.append(shape("path", { d: barsOf(series, frame) + arrowsOf(series, frame, places), class: "bars" }));
  if (series.roof) group.append(shape("text", { ...roofEnd(places, frame), class: "rooftext", "text-anchor": "end" }, series.name));
  else if (!series.plain) group.append(...(many ? [cloud(places)] : points(series, places)));
  return group;
}

/* A crossover: a band from the last place before it to the first after, a line, and words above. */
function crossoverOf({ name, slot, x, low, high }, at, { x: across, left, right, top, bottom, strip }) {
  const place = across.at(x);
  const words = `${name} from ${threeDigits(x)} [${sizeText(low)}, ${sizeText(high)}]`;
  const fits = place + words.length * CHARACTER + 6 < right;
  const y = top - strip + LINE * at + 11;
  return shape("g", { class: `crossover slot${slot % 8}`, "data-x": x, "data-low": low, "data-high": high },
    shape("path", { d: `M${across.at(low)},${top}V${bottom}H${across.at(high)}V${top}Z`, class: "between" }),
    shape("path", { d: `M${place},${y - 9}V${bottom}`, class: "line", "stroke-dasharray": "3 3" }),
    shape("text", { x: fits ? place + 6 : Math.max(place - 6, left + words.length * CHARACTER), y, "text-anchor": fits ? "start" : "end" }, words));
}

function points(series, places) {
  return places.map(([x, y], at) => shape("path", {
    d: symbolOf(series), transform: `translate(${x.toFixed(1)},${y.toFixed(1)})`, class: "point",
    "data-x": series.x[at], "data-y": series.y[at],
  }));
}

function cloud(places) {
  return shape("path", { d: places.map(([x, y]) => `M${x.toFixed(0)},${y.toFixed(0)}h0`).join(""), class: "cloud" });
}

function roofEnd(places, { right, top }) {
  const [x, y] = places.at(-1);
  return { x: Math.min(x, right), y: Math.max(y - 5, top - 2) };
}

/* Whether only one end of an interval is known: the value is at least, or at most, this. */
const isOpen = ({ low, high }, at) => Boolean(low) && (low[at] === null) !== (high[at] === null);

function arrowsOf(series, frame, places) {
  return places.map(([x, y], at) => {
    if (!isOpen(series, at)) return "";
    const by = series.high[at] === null ? -1 : 1;
    return `M${x.toFixed(1)},${y.toFixed(1)}v${by * 24}l-5,${-by * 7}m5,${by * 7}l5,${-by * 7}`;
  }).join("");
}

function barsOf({ x, y, low, high, across }, frame) {
  const bars = [];
  for (let at = 0; at < x.length; at += 1) {
    if (low[at] === null || high[at] === null || low[at] === undefined) continue;
    if (across) bars.push(`M${frame.x.at(low[at]).toFixed(1)},${frame.y.at(y[at]).toFixed(1)}H${frame.x.at(high[at]).toFixed(1)}`);
    else bars.push(`M${frame.x.at(x[at]).toFixed(1)},${frame.y.at(low[at]).toFixed(1)}V${frame.y.at(high[at]).toFixed(1)}`);
  }
  return bars.join("");
}

function bandOf({ x, y, low, high }, frame) {
  const edge = (ends) => x.map((each, at) => `${frame.x.at(each).toFixed(1)},${frame.y.at(ends[at] ?? y[at]).toFixed(1)}`);
  return `M${edge(high).join("L")}L${edge(low).reverse().join("L")}Z`;
}

/* The point next to the pointer, in words. */
const tip = element("div", { class: "tip", role: "status", hidden: true });
document.body.append(tip);

function hover(event, svg, figure, shown, frame, width) {
  const box = svg.getBoundingClientRect();
  const [px, py] = [event.clientX - box.left, event.clientY - box.top].map((each) => each * width / box.width);
  let best = { distance: 26 };
  for (const series of shown) {
    if (series.roof) continue;
    for (let at = 0; at < series.x.length; at += 1) {
      const distance = Math.hypot(frame.x.at(series.x[at]) - px, frame.y.at(series.y[at]) - py);
      if (distance < best.distance) best = { distance, series, at };
    }
  }
  tip.hidden = !best.series;
  if (tip.hidden) return;
  const { series, at } = best;
  const note = typeof series.notes === "function" ? series.notes(at) : series.notes?.[at];
  tip.replaceChildren(element("b", {}, series.name), ...[valueText(figure, series, at), note].filter(Boolean).map((text) => element("div", {}, text)));
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${event.clientY + 18 + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 12 : event.clientY + 18}px`;
}

function valueText({ x, y }, series, at) {
  const across = `${x.label} ${x.ticks ? sizeText(series.x[at]) : threeDigits(series.x[at])}`;
  return y.rows ? across : `${across}: ${y.label} ${threeDigits(series.y[at])}`;
}

/* One legend for several plots: a button a name; a click hides the name in all of them. */
function legend(place, listed, changed) {
  const hidden = new Set();
  place.replaceChildren(...listed.map((series) => {
    const key = shape("svg", { width: 34, height: 14, class: styleOf(series), "aria-hidden": "true" },
      series.kind ? "" : shape("path", { d: "M0,7H34", class: "line", "stroke-dasharray": dashOf(series) }),
      shape("path", { d: symbolOf(series), transform: "translate(17,7)", class: "point" }));
    const made = element("button", { type: "button", "aria-pressed": "true" }, key, series.name);
    made.addEventListener("click", () => {
      const off = !hidden.delete(series.name);
      if (off) hidden.add(series.name);
      made.setAttribute("aria-pressed", String(!off));
      changed(hidden);
    });
    return made;
  }));
  return hidden;
}
