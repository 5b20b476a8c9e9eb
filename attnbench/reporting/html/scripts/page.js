/* Everything on the page comes to life. A plot is drawn when it comes near the screen. */
const footer = document.querySelector("footer")?.textContent.trim() ?? "";
const drawings = new Map();  /* by figure: what draws it */

class Figure {
  constructor(figure) {
    this.figure = figure;
    this.choices = data.figures[figure.id];
    this.select = figure.querySelector("select");
    const view = address.get(figure.id);
    if (view && this.select) this.select.value = view;
    this.select?.addEventListener("change", () => { address.set(figure.id, this.select.value); this.draw(); });
  }

  draw() {
    const spec = this.choices[this.select?.value || 0];
    const listed = spec.series.filter((series) => !series.roof);
    const canvas = this.figure.querySelector(".canvas");
    const place = this.figure.querySelector(".legend");
    if (this.drawn !== spec) this.hidden = legend(place, listed, () => plot(canvas, spec, this.hidden));
    this.drawn = spec;
    plot(canvas, spec, this.hidden);
    this.figure.classList.add("drawn");
  }
}

function showSamples(id, choice) {
  const figure = document.getElementById(id);
  const select = figure.querySelector("select");
  if (select) select.value = choice;
  drawings.get(figure).draw();
  figure.scrollIntoView({ block: "center" });
  select?.focus({ preventScroll: true });
}

const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (isIntersecting) { near.unobserve(target); drawings.get(target).draw(); widths.observe(target); }
  }
}, { rootMargin: "600px" });

/* Drawn anew in another width; colours follow the theme by themselves. */
const widths = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const width = target.clientWidth;
    if (target.dataset.width && target.dataset.width !== String(width)) drawings.get(target).draw();
    target.dataset.width = width;
  }
});

for (const figure of document.querySelectorAll("figure.plot")) {
  drawings.set(figure, new (figure.classList.contains("section") ? Section : Figure)(figure));
  near.observe(figure);
  const title = () => `${figure.querySelector("h3").textContent}, ${document.title}`;
  figure.querySelector("button.svg")?.addEventListener("click", () => saveSvg(figure.querySelector(".canvas svg"), title(), footer));
  figure.querySelector("button.png")?.addEventListener("click", () => savePng(figure.querySelector(".canvas svg"), title(), footer));
}

const tables = [...document.querySelectorAll(".results")].map((box) => new Table(box));
const pickers = new Map([...document.querySelectorAll(".picker")].map((box) => [box.id, new Picker(box)]));

/* A square of a map fills in "my shape". */
for (const square of document.querySelectorAll("td[data-shape]")) {
  square.addEventListener("click", () => {
    const picker = pickers.get(square.dataset.picker);
    picker?.pick(picker.listed[Number(square.dataset.shape)]);
  });
}

for (const button of document.querySelectorAll("button.copy-command")) {
  button.addEventListener("click", async () => {
    await copy(button.parentElement.querySelector("code").textContent);
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

/* Paper shows all plots, and rows of tables that are not too long. */
const PRINTED = 3000;
const printed = () => tables.filter((table) => table.count <= PRINTED);
addEventListener("beforeprint", () => {
  for (const drawing of drawings.values()) drawing.draw();
  for (const table of printed()) table.print(true);
});
addEventListener("afterprint", () => printed().forEach((table) => table.print(false)));
