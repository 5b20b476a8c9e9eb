"use strict";

/* The page's data, in it or in a file beside it, and the small tools that all other scripts use. */
const data = globalThis.attnbenchData ?? JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

/* An element with attributes and children; texts stay texts, never markup. */
function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function shape(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/* A column as Python's `packed` writes it: one value for all, codes into values, or all values. */
function unpacked(column) {
  if (Array.isArray(column)) return column;
  if (column.codes) return column.codes.map((code) => column.values[code]);
  return Array(column.count).fill(column.all);
}

function threeDigits(value) {
  return value === 0 || !Number.isFinite(value) ? String(value) : String(Number(value.toPrecision(3)));
}

/* As specs write numbers: 2048 is 2k. */
function sizeText(value) {
  if (Number.isInteger(value) && value >= 1024) {
    if (value % 1048576 === 0) return `${value / 1048576}m`;
    if (value % 1024 === 0) return `${value / 1024}k`;
  }
  return String(value);
}

function sizeOf(text) {
  const found = /^(\d+(?:\.\d+)?)([km]?)$/i.exec(text.trim());
  return found ? Number(found[1]) * { "": 1, k: 1024, m: 1048576 }[found[2].toLowerCase()] : NaN;
}

function save(name, content, type) {
  const link = element("a", { href: URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = element("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

function fileName(text) {
  return text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 60);
}

/* The state of the page is in the part of its address after #, so a link opens the same view. */
const address = {
  read: () => new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : ""),
  get: (key) => address.read().get(key) ?? "",
  set(key, value) {
    const found = address.read();
    if (value) found.set(key, value); else found.delete(key);
    const text = found.toString();
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  },
};
