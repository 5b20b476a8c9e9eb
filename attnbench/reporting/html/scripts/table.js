/* Tables with few or with very many rows: only rows near the screen are elements. */
const ALL = 400;  /* with more rows than this, only the visible ones are drawn */
const FOLDED = 60;  /* with more rows than this, workloads open folded */
const BEYOND = 30;  /* rows drawn above and below the visible ones */
const words = new Intl.Collator("en", { numeric: true });

/* A table of the page's data; see Python's HtmlTable for its parts. */
class Table {
  constructor(box) {
    this.box = box;
    this.key = box.id;
    const { heads, columns, groups, facts, count } = data.tables[this.key];
    Object.assign(this, { heads, groups, count, tables: data.tables[this.key] });
    this.texts = columns.map((column) => unpacked(column.texts));
    this.orders = columns.map((column) => column.orders && unpacked(column.orders));
    const named = heads.map(({ text }, at) => [text.replace(/\W+/g, "_").replace(/^_|_$/g, ""), this.orders[at] ?? this.texts[at]]);
    this.facts = Object.fromEntries([...named, ...Object.entries(facts ?? {}).map(([name, column]) => [name, unpacked(column)])]);
    this.groupOf = groups ? unpacked(groups.of) : null;
    this.haystacks = [];
    this.scroll = box.querySelector(".scroll");
    this.body = box.querySelector("tbody");
    this.search = box.querySelector("input[type=search]");
    this.output = box.querySelector("output");
    this.limits = this.heads.map(() => "");
    this.toggled = new Set();
    box.classList.toggle("few", this.count <= ALL);  /* rows may have several lines */
    box.classList.toggle("many", heads.length > 12);  /* columns, for which paper is narrow */
    this.dressHead();
    this.readAddress();
    this.listen();
    this.arrange();
  }

  dressHead() {
    const row = this.box.querySelector("thead tr");
    row.querySelectorAll("th").forEach((head, at) => {
      const texts = this.texts[at] ?? [];
      const longest = texts.reduce((most, text) => Math.max(most, text.length), 0);
      if (this.texts[at]) head.style.minWidth = `calc(${Math.min(longest, 60)}ch + ${this.heads[at].interval ? 94 : 21}px)`;
      head.querySelector("button")?.addEventListener("click", () => this.sortBy(at));
    });
    this.width = row.children.length;
    this.workloads = row.querySelector(".workload");
  }

  readAddress() {
    const asked = new URLSearchParams(address.get(this.key));
    this.search.value = asked.get("q") ?? "";
    this.sorted = asked.has("sort") ? { at: Number(asked.get("sort")), down: asked.has("down") } : null;
    this.folded = asked.has("fold") ? asked.get("fold") === "1" : this.count > FOLDED;
    for (const [name, value] of asked) if (/^c\d+$/.test(name)) this.limits[Number(name.slice(1))] = value;
    if (this.limits.some(Boolean)) this.showLimits();
  }

  writeAddress() {
    const asked = new URLSearchParams();
    if (this.search.value.trim()) asked.set("q", this.search.value.trim());
    if (this.sorted) asked.set("sort", this.sorted.at);
    if (this.sorted?.down) asked.set("down", "1");
    if (this.groups && this.folded !== this.count > FOLDED) asked.set("fold", this.folded ? "1" : "0");
    this.limits.forEach((text, at) => text && asked.set(`c${at}`, text));
    address.set(this.key, asked.toString());
  }

  listen() {
    this.search.addEventListener("input", () => this.changed());
    this.scroll.addEventListener("scroll", () => this.draw(), { passive: true });
    const on = (name, act) => this.box.querySelector(`button.${name}`)?.addEventListener("click", act);
    on("fold", () => { this.folded = !this.folded; this.toggled.clear(); this.sorted = null; this.changed(); });
    on("limits", () => this.showLimits());
    on("copy", async (event) => {
      await copy(this.csv("\t"));
      event.target.textContent = "copied";
      setTimeout(() => { event.target.textContent = "Copy"; }, 1500);
    });
    on("download", () => save(`${fileName(document.title)}.csv`, this.csv(","), "text/csv"));
    this.body.addEventListener("click", (event) => {
      const fold = event.target.closest("button[data-group]");
      if (fold) this.toggle(Number(fold.dataset.group));
      const samples = event.target.closest("button.samples");
      if (samples) showSamples(this.tables.samples_plot, samples.dataset.choice);
    });
  }

  changed() {
    this.writeAddress();
    this.arrange();
  }

  toggle(group) {
    if (!this.toggled.delete(group)) this.toggled.add(group);
    this.arrange();
    this.body.querySelector(`button[data-group="${group}"]`)?.focus();
  }

  sortBy(at) {
    this.sorted = { at, down: this.sorted?.at === at && !this.sorted.down };
    this.changed();
  }

  showLimits() {
    if (this.box.querySelector("tr.limits")) return;
    const row = element("tr", { class: "limits" });
    for (let at = 0; at < this.width; at += 1) {
      const cell = element("td");
      if (this.heads[at]) {
        const field = element("input", { "aria-label": `Limit ${this.heads[at].text}`, placeholder: this.orders[at] ? "<1.1" : "text", value: this.limits[at] });
        field.addEventListener("input", () => { this.limits[at] = field.value; this.changed(); });
        cell.append(field);
      }
      row.append(cell);
    }
    this.box.querySelector("thead").append(row);
  }

  haystack(row) {
    this.haystacks[row] ??= `${this.texts.map((column) => column[row]).join(" ")} ${this.groups ? this.groups.names[this.groupOf[row]] : ""}`.toLowerCase();
    return this.haystacks[row];
  }

  /* The rows that pass all filters, in order, with the heads of workloads between them. */
  arrange() {
    const { problem, holds } = filterOf(this.search.value, this.facts, (row) => this.haystack(row));
    const tests = [holds];
    this.limits.forEach((text, at) => text.trim() && tests.push(columnFilter(text, this.texts[at], this.orders[at])));
    const rows = [];
    for (let row = 0; row < this.count; row += 1) if (tests.every((test) => test(row))) rows.push(row);
    if (this.sorted) this.sort(rows);
    this.rows = rows;
    this.items = this.groups && !this.sorted ? this.grouped(rows) : rows.map((row) => ({ row }));
    this.output.textContent = problem || (rows.length === this.count ? `${this.count} rows` : `${rows.length} of ${this.count} rows`);
    this.marks();
    this.first = undefined;
    this.draw();
  }

  marks() {
    this.box.querySelectorAll("thead th[aria-sort]").forEach((head, at) => {
      head.ariaSort = this.sorted?.at !== at ? "none" : this.sorted.down ? "descending" : "ascending";
    });
    this.box.classList.toggle("flat", !this.groups || Boolean(this.sorted));
    const fold = this.box.querySelector("button.fold");
    if (fold) fold.textContent = this.sorted ? "By workload" : this.folded ? "Unfold all" : "Fold all";
  }

  /* Rows without a number come last in either order. */
  sort(rows) {
    const { at, down } = this.sorted;
    const keys = this.orders[at] ?? ranks(this.texts[at]);
    const sign = down ? -1 : 1;
    rows.sort((a, b) => {
      const [x, y] = [keys[a], keys[b]];
      if (x === null || y === null) return (x === null) - (y === null) || a - b;
      return sign * (x - y) || a - b;
    });
  }

  grouped(rows) {
    const byGroup = new Map();
    for (const row of rows) {
      const group = this.groupOf[row];
      if (byGroup.has(group)) byGroup.get(group).push(row); else byGroup.set(group, [row]);
    }
    const items = [];
    for (const [group, listed] of byGroup) {
      const open = this.folded === this.toggled.has(group);
      items.push({ group, open, rows: listed.length });
      if (open) items.push(...listed.map((row) => ({ row })));
    }
    return items;
  }

  /* Draw the rows in sight; all of them if they are few. */
  draw(all = false) {
    const count = this.items.length;
    let [first, last] = [0, count];
    if (!all && count > ALL) {
      this.rowHeight ??= this.measured();
      first = Math.max(0, Math.floor(this.scroll.scrollTop / this.rowHeight) - BEYOND);
      last = Math.min(count, first + Math.ceil(this.scroll.clientHeight / this.rowHeight) + 2 * BEYOND);
    }
    if (this.first !== undefined && Math.abs(first - this.first) < BEYOND / 2 && !all && count > ALL) return;
    this.first = first;
    const drawn = this.items.slice(first, last).map((item) => item.group === undefined ? this.row(item.row) : this.head(item));
    this.body.replaceChildren(this.space(first), ...drawn, this.space(count - last));
    this.box.querySelector("table").ariaRowCount = count;
  }

  /* Paper has no folds and no scrolling. */
  print(begins) {
    if (begins) this.screen = { folded: this.folded, toggled: this.toggled };
    Object.assign(this, begins ? { folded: false, toggled: new Set() } : this.screen);
    this.arrange();
    if (begins) this.draw(true);
  }

  measured() {
    this.body.replaceChildren(this.items[0].group === undefined ? this.row(0) : this.head(this.items[0]));
    return this.body.firstChild.getBoundingClientRect().height || 30;
  }

  space(rows) {
    const made = element("tr", { class: "space", "aria-hidden": "true" });
    made.hidden = !rows;
    if (rows) made.append(element("td", { colspan: this.width, style: `height:${rows * this.rowHeight}px` }));
    return made;
  }

  head({ group, open, rows }) {
    const button = element("button", { type: "button", "data-group": group, "aria-expanded": String(open) },
      element("b", {}, this.groups.names[group]), element("span", {}, this.groups.findings[group]),
      element("small", {}, open ? "" : `${rows} row${rows > 1 ? "s" : ""}`));
    return element("tr", { class: "group" }, element("th", { colspan: this.width, scope: "rowgroup" }, button));
  }

  row(row) {
    const best = this.tables.first?.[row];
    const made = element("tr", { class: best ? "best" : null });
    this.heads.forEach((head, at) => {
      const cell = element(at ? "td" : "th", { class: head.left ? "word" : null, scope: at ? null : "row" });
      const text = this.texts[at][row];
      if (this.tables.kinds.includes(text)) cell.dataset.kind = text.replaceAll(" ", "-");
      const link = !at && this.tables.links?.[row];
      cell.append(...(link ? [element("a", { href: link }, text)] : head.interval ? this.bar(row, text) : [text]));
      made.append(cell);
    });
    if (this.groups) made.append(element("td", { class: "workload word" }, this.groups.names[this.groupOf[row]]));
    if (this.tables.sparks) made.append(element("td", { class: "last" }, sparkline(this.tables.sparks[row])));
    if (this.tables.samples) made.append(this.samples(row));
    return made;
  }

  /* The interval as a bar between the best and the slowest of the table. */
  bar(row, text) {
    const { low, high, most } = this.tables.intervals;
    if (low[row] === null) return [text];
    const place = (ratio) => 100 * Math.min(1, Math.max(0, Math.log(ratio) / Math.log(most)));
    const [from, to] = [place(low[row]), place(high[row])];
    const bar = element("span", { class: "interval", "aria-hidden": "true" }, element("span", { style: `left:${from}%;width:${Math.max(to - from, 2)}%` }));
    return [bar, element("span", {}, text)];
  }

  samples(row) {
    const choice = this.tables.samples[row];
    const cell = element("td");
    if (choice !== null) cell.append(element("button", { type: "button", class: "samples", "data-choice": choice, "aria-label": `Show the samples of row ${row + 1}` }, "show"));
    return cell;
  }

  csv(separator) {
    const quoted = (text) => separator === "," && /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    const heads = this.heads.map((head) => head.text);
    const line = (row) => this.texts.map((column) => column[row]);
    if (!this.groups) return [heads, ...this.rows.map(line)].map((cells) => cells.map(quoted).join(separator)).join("\n");
    const listed = this.rows.map((row) => [this.groups.names[this.groupOf[row]], ...line(row)]);
    return [["workload", ...heads], ...listed].map((cells) => cells.map(quoted).join(separator)).join("\n");
  }
}

function sparkline(path) {
  return shape("svg", { class: "spark", viewBox: "-2 -1 104 22", preserveAspectRatio: "none", "aria-hidden": "true" }, shape("path", { d: path }));
}

/* Numbers that order texts as a reader would. */
function ranks(texts) {
  const listed = [...new Set(texts)].sort(words.compare);
  const found = new Map(listed.map((text, at) => [text, at]));
  return texts.map((text) => found.get(text));
}
