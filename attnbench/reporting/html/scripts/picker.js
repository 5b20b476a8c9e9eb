/* "My shape": the measured workload nearest to the numbers asked for, and who is best there. */
class Picker {
  constructor(box) {
    this.box = box;
    this.key = box.id;
    Object.assign(this, data.pickers[this.key]);
    this.fields = box.querySelector(".fields");
    this.result = box.querySelector(".result");
    this.kind = box.querySelector("select");
    const asked = new URLSearchParams(address.get(this.key));
    if (asked.has("kind")) this.kind.value = asked.get("kind");
    this.kind.addEventListener("change", () => this.offer(new URLSearchParams()));
    this.offer(asked);
  }

  get shapes() {
    return this.listed.filter((each) => each.kind === this.kind.value);
  }

  /* A field a quantity of this kind of batch, with the measured values as suggestions; at first those of a measured shape. */
  offer(asked) {
    const known = (name) => new Set(this.shapes.map((each) => each.dims[name]));
    const names = [...new Set(this.shapes.flatMap((each) => Object.keys(each.dims)))].filter((name) => known(name).size > 1);
    const middle = this.shapes[Math.floor(this.shapes.length / 2)];
    this.fields.replaceChildren(...names.map((name) => {
      const values = [...new Set(this.shapes.map((each) => each.dims[name]).filter((value) => value !== undefined))];
      const field = values.every((value) => typeof value === "number") ? this.number(name, values) : this.choice(values);
      field.dataset.name = name;
      field.value = asked.get(name) ?? sizeText(middle.dims[name] ?? values[0]);
      field.addEventListener("input", () => this.answer());
      return element("label", {}, name, field);
    }));
    this.show();
  }

  number(name, values) {
    const id = `${this.key}-${fileName(name)}`;
    const sorted = [...values].sort((a, b) => a - b);
    const made = element("input", { list: id, size: 7, autocomplete: "off" });
    this.fields.after(element("datalist", { id }, ...sorted.map((value) => element("option", { value: sizeText(value) }))));
    return made;
  }

  choice(values) {
    return element("select", {}, ...values.map((value) => element("option", {}, String(value))));
  }

  pick(shape) {
    this.kind.value = shape.kind;
    this.offer(new URLSearchParams(Object.entries(shape.dims).map(([name, value]) => [name, sizeText(value)])));
    this.answer();
  }

  answer() {
    const asked = new URLSearchParams({ kind: this.kind.value });
    for (const field of this.fields.querySelectorAll("[data-name]")) asked.set(field.dataset.name, field.value);
    address.set(this.key, asked.toString());
    this.show();
  }

  show() {
    const wanted = [...this.fields.querySelectorAll("[data-name]")].map((field) => [field.dataset.name, field.value, sizeOf(field.value)]);
    const distance = ({ dims }) => wanted.reduce((sum, [name, text, number]) => {
      if (typeof dims[name] !== "number") return sum + (String(dims[name]) === text ? 0 : 100);
      return sum + (Number.isNaN(number) ? 0 : Math.abs(Math.log2((dims[name] + 0.5) / (number + 0.5))));
    }, 0);
    const found = this.shapes.map((each) => [distance(each), each]).sort((a, b) => a[0] - b[0])[0];
    if (!found) return;
    const [off, { workload, sentence, rows }] = found;
    const exact = off < 1e-9 ? "measured" : "nearest measured";
    this.result.replaceChildren(
      element("p", { class: "verdict-line" }, element("b", {}, sentence), element("span", {}, ` (${exact}: ${workload})`)),
      element("ol", {}, ...rows.map(([name, time, place]) => element("li", {}, element("b", {}, name), element("span", {}, time), element("span", {}, place)))));
  }
}
