/* Filters of tables: words, and conditions as `--where` takes them, e.g. kv_len>=4k backend=flash. */
const CONDITION = /^([\w.]+)(!=|<=|>=|==?|<|>|~)(.+)$/;

/* A test of rows, and what is wrong with the text, if anything. */
function filterOf(text, facts, haystack) {
  const tests = [];
  for (const word of text.match(/"[^"]*"|\S+/g) ?? []) {
    const plain = word.replaceAll('"', "");
    const found = CONDITION.exec(plain);
    if (!found) {
      const wanted = plain.toLowerCase();
      tests.push((row) => haystack(row).includes(wanted));
    } else if (!facts[found[1]]) {
      return { problem: `no field ${found[1]}; fields are ${Object.keys(facts).join(", ")}`, holds: () => true };
    } else {
      tests.push(conditionOf(facts[found[1]], found[2], found[3]));
    }
  }
  return { problem: "", holds: (row) => tests.every((test) => test(row)) };
}

function conditionOf(column, operator, value) {
  const wanted = sizeOf(value);
  const equal = (actual) => typeof actual === "number" ? actual === wanted : String(actual ?? "").toLowerCase() === value.toLowerCase();
  if (operator === "!=") return (row) => !equal(column[row]);
  if (operator === "=" || operator === "==") return (row) => column[row] !== null && equal(column[row]);
  if (operator === "~") {
    let pattern;
    try { pattern = new RegExp(value, "i"); } catch { return () => true; }
    return (row) => pattern.test(String(column[row] ?? ""));
  }
  return (row) => typeof column[row] === "number" && ordered(column[row], operator, wanted);
}

function ordered(actual, operator, wanted) {
  return { "<": actual < wanted, "<=": actual <= wanted, ">": actual > wanted, ">=": actual >= wanted }[operator];
}

/* The filter of one column: part of a text, or a number's limit such as <1.1. */
function columnFilter(text, texts, orders) {
  const found = /^(<=|>=|<|>|=)\s*(.+)$/.exec(text.trim());
  if (found && orders) {
    const wanted = sizeOf(found[2]);
    return (row) => orders[row] !== null && (found[1] === "=" ? orders[row] === wanted : ordered(orders[row], found[1], wanted));
  }
  const wanted = text.trim().toLowerCase();
  return (row) => texts[row].toLowerCase().includes(wanted);
}
