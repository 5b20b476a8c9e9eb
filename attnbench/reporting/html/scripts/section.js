/* The plots of a section of a report: sweeps in several measures, the roofline, one legend. */
const METRICS = {
  ratio: { label: "time over the best", low: "ratio_low", high: "ratio_high", log: true },
  time: { low: "low", high: "high", log: true },
  roof: { label: "% of the roofline", log: false },
};

class Section {
  constructor(figure) {
    this.figure = figure;
    this.key = figure.id;
    const found = data.sections[this.key];
    this.rows = Object.fromEntries(Object.entries(found.rows).map(([name, column]) => [name, unpacked(column)]));
    Object.assign(this, { unit: found.unit, names: found.names, sweeps: found.sweeps, workloads: found.workloads, rates: found.rates });
    this.canvas = figure.querySelector(".canvas");
    this.tabs = [...figure.querySelectorAll("[role=tab]")];
    this.select = figure.querySelector("select");
    const asked = new URLSearchParams(address.get(this.key));
    this.tab = this.tabs.find((tab) => tab.dataset.metric === asked.get("tab")) ?? this.tabs[0];
    if (asked.has("view") && this.select) this.select.value = asked.get("view");
    this.hidden = legend(figure.querySelector(".legend"), this.names.map((name, slot) => ({ name, slot })), () => this.draw());
    this.select?.addEventListener("change", () => this.changed());
    this.tabs.forEach((tab, at) => {
      tab.addEventListener("click", () => { this.tab = tab; this.changed(); });
      tab.addEventListener("keydown", (event) => this.step(event, at));
    });
  }

  step(event, at) {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by) this.tabs.at((at + by) % this.tabs.length).click();
    if (by) this.tab.focus();
  }

  changed() {
    const asked = new URLSearchParams();
    if (this.tab !== this.tabs[0]) asked.set("tab", this.tab.dataset.metric);
    if (this.select?.selectedIndex > 0) asked.set("view", this.select.value);
    address.set(this.key, asked.toString());
    this.draw();
  }

  draw() {
    const metric = this.tab.dataset.metric;
    for (const tab of this.tabs) {
      tab.ariaSelected = String(tab === this.tab);
      tab.tabIndex = tab === this.tab ? 0 : -1;
    }
    if (this.select) this.select.closest("label").hidden = metric === "rates";
    this.figure.querySelectorAll("[data-about]").forEach((each) => { each.hidden = each.dataset.about !== metric; });
    plot(this.canvas, this.spec(metric), this.hidden);
    this.figure.classList.add("drawn");
  }

  spec(metric) {
    if (metric === "rates") return this.ratesFigure();
    const sweep = this.sweeps[this.select?.value ?? 0];
    return sweep ? this.sweepFigure(sweep, metric) : this.rowsFigure(metric);
  }

  label(metric) {
    return METRICS[metric].label ?? `latency, ${this.unit}`;
  }

  series(name, slot, rows, metric, places, vertical) {
    const values = rows.map((row) => this.rows[metric][row]);
    const { low, high } = METRICS[metric];
    const ends = low ? { low: rows.map((row) => this.rows[low][row]), high: rows.map((row) => this.rows[high][row]) } : {};
    const [x, y] = vertical ? [places, values] : [values, places];
    return { name, slot, x, y, ...ends, across: !vertical, notes: (at) => this.note(rows[at]) };
  }

  note(row) {
    const { ratio, ratio_low: low, ratio_high: high, time, roof, workload } = this.rows;
    const interval = low[row] === null ? "" : ` [${threeDigits(low[row])}, ${threeDigits(high[row])}]`;
    const beside = ratio[row] === null ? "" : `, ${threeDigits(ratio[row])} times the best${interval}`;
    const part = roof[row] === null ? "" : `, ${threeDigits(roof[row])} % of the roofline`;
    return `${this.workloads[workload[row]]}: ${threeDigits(time[row])} ${this.unit}${beside}${part}`;
  }

  sweepFigure({ axis, ticks, lines, marks }, metric) {
    const series = lines.map(([name, slot, places, rows]) => {
      const known = rows.map((row, at) => [row, places[at]]).filter(([row]) => this.rows[metric][row] !== null);
      const made = this.series(name, slot, known.map(([row]) => row), metric, known.map(([, place]) => place), true);
      return { ...made, line: true, band: metric === "ratio" };
    }).filter((each) => each.x.length);
    const positive = series.every((each) => each.x.every((x) => x > 0));
    return { x: { label: axis, log: positive, ticks }, y: { label: this.label(metric), log: METRICS[metric].log }, series, marks: metric === "roof" ? [] : marks };
  }

  rowsFigure(metric) {
    const byName = this.names.map(() => []);
    this.rows.name.forEach((name, row) => this.rows[metric][row] !== null && byName[name].push(row));
    const series = this.names.map((name, slot) => this.series(name, slot, byName[slot], metric, byName[slot].map((row) => this.rows.workload[row]), false));
    return { x: { label: this.label(metric), log: METRICS[metric].log }, y: { rows: this.workloads }, series: series.filter((each) => each.x.length), height: 70 + 24 * this.workloads.length };
  }

  ratesFigure() {
    const { x, y, roofs } = this.rates;
    const byName = this.names.map(() => []);
    this.rows.name.forEach((name, row) => this.rows.rate[row] !== null && byName[name].push(row));
    const series = this.names.map((name, slot) => ({
      name, slot, x: byName[slot].map((row) => this.rows.work[row]), y: byName[slot].map((row) => this.rows.rate[row]), notes: (at) => this.note(byName[slot][at]),
    }));
    return { x, y, series: [...roofs, ...series.filter((each) => each.x.length)] };
  }
}
