/* A plot as a file: SVG, or PNG at twice its size, with its title, and the run below. */
const COPIED = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "fill-opacity", "font-size", "font-family", "font-weight", "stroke-linecap"];

function standalone(svg, title, footer) {
  const made = svg.cloneNode(true);
  const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  const [from, to] = [svg.querySelectorAll("*"), made.querySelectorAll("*")];
  from.forEach((source, at) => {
    const style = getComputedStyle(source);
    for (const name of COPIED) to[at].style.setProperty(name, style.getPropertyValue(name));
  });
  const body = getComputedStyle(document.body);
  const text = (content, y, size) => shape("text", { x: 4, y, fill: body.color, "font-size": size, "font-family": "sans-serif" }, content);
  const paper = shape("rect", { x: 0, y: -28, width, height: height + 52, fill: body.backgroundColor });
  made.prepend(paper, text(title, -8, 15));
  made.append(text(footer, height + 16, 10));
  for (const [name, value] of Object.entries({ xmlns: SVG, viewBox: `0 -28 ${width} ${height + 52}`, width, height: height + 52 })) made.setAttribute(name, value);
  return { text: new XMLSerializer().serializeToString(made), width, height: height + 52 };
}

function saveSvg(svg, title, footer) {
  save(`${fileName(title)}.svg`, standalone(svg, title, footer).text, "image/svg+xml");
}

function savePng(svg, title, footer) {
  const { text, width, height } = standalone(svg, title, footer);
  const image = new Image();
  image.onload = () => {
    const canvas = element("canvas", { width: 2 * width, height: 2 * height });
    canvas.getContext("2d").drawImage(image, 0, 0, 2 * width, 2 * height);
    canvas.toBlob((content) => save(`${fileName(title)}.png`, content));
  };
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
}
