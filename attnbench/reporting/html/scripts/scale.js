/* Scales and ticks of plots. A tick is [value, text]. */
const CHARACTER = 6.8;  /* pixels of a character of a tick, about */
const GAP = 10;

/* The scale of an axis over the values, from one pixel to another. */
function scaleOf(axis, values, from, to) {
  const log = Boolean(axis.log);
  const [low, high] = rangeOf(axis, values, log);
  const place = log ? Math.log10 : (value) => value;
  const [start, end] = [place(low), place(high)];
  const at = (value) => from + (to - from) * (place(value) - start) / (end - start);
  const level = to < from;
  const room = (text) => level ? 18 : text.length * CHARACTER + GAP;
  return { at, log, low, high, ticks: ticksOf(axis, low, high, log, at, room) };
}

function rangeOf(axis, values, log) {
  if (axis.range) return axis.range;
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value === null || value === undefined || (log && value <= 0)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) return log ? [1, 10] : [0, 1];
  if (log) {
    const edge = Math.max((high / low) ** 0.05, 1.02);
    return [low / edge, high * edge];
  }
  const edge = (high - low) * 0.05 || Math.abs(high) * 0.1 || 1;
  return [low - edge, high + edge];
}

function ticksOf(axis, low, high, log, at, room) {
  if (axis.ticks) return apart(axis.ticks.filter(([value]) => value >= low && value <= high), at, room);
  const candidates = log && high / low > 4 ? logTicks(low, high) : linearTicks(low, high);
  for (const ticks of candidates) {
    const texts = ticks.map((value) => [value, tickText(value)]);
    if (texts.length > 1 && fits(texts, at, room)) return texts;
  }
  return apart(candidates.at(-1).map((value) => [value, tickText(value)]), at, room);
}

/* From many ticks to few. */
function logTicks(low, high) {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const within = (steps, stride) => {
    const found = [];
    for (let decade = first; decade <= last; decade += stride) {
      for (const step of steps) found.push(Number(`${step}e${decade}`));
    }
    return found.filter((value) => value >= low && value <= high);
  };
  const sets = [within([1, 2, 3, 5], 1), within([1, 2, 5], 1), within([1, 3], 1), within([1], 1), within([1], 2), within([1], 3)];
  return sets.filter((ticks) => ticks.length > 1).concat([[low, high].map((value) => Number(value.toPrecision(2)))]);
}

function linearTicks(low, high) {
  const sets = [];
  for (let count = 9; count >= 2; count -= 1) {
    const rough = (high - low) / count;
    const base = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((each) => each * base).find((each) => each >= rough);
    const found = [];
    for (let at = Math.ceil(low / step); at * step <= high; at += 1) found.push(Number((at * step).toPrecision(10)));
    sets.push(found);
  }
  return sets;
}

function fits(ticks, at, room) {
  return ticks.every(([value, text], index) => {
    if (!index) return true;
    const [before, name] = ticks[index - 1];
    return Math.abs(at(value) - at(before)) >= (room(text) + room(name)) / 2;
  });
}

/* The ticks that do not collide with the one before. */
function apart(ticks, at, room) {
  const kept = [];
  for (const tick of ticks) if (fits([...kept.slice(-1), tick], at, room)) kept.push(tick);
  return kept;
}

function tickText(value) {
  const size = Math.abs(value);
  if (size && (size >= 1e6 || size < 1e-3)) return value.toExponential().replace("e+", "e");
  return String(Number(value.toPrecision(6)));
}
