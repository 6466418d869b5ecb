"use strict";
// Charts as SVG, drawn anew for the width of the page. What they show is in the JSON of the page; times are seconds.

addEventListener("error", (event) => { document.documentElement.dataset.errors += event.message + "\n"; });

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const SVG = byId("svg").namespaceURI;
const MANY = 60; // nodes above which a histogram takes the place of a bar for each

// ---- numbers for people

const trim = (value, digits) => String(Number(value.toPrecision(digits)));
const whole = (value) => Math.round(value).toLocaleString("en");
const number = (value) => (Math.abs(value) >= 1000 ? whole(value) : trim(value, 3));
const percent = (share) => `${trim(100 * share, 3)} %`;
const percentBelow = (share) => (share < 1 && share > 0.9995 ? "99.9+ %" : percent(share));

function seconds(value) {
  if (value === 0) return "0 s";
  return value < 1 ? `${trim(value * 1e3, 3)} ms` : `${value < 100 ? trim(value, 3) : whole(value)} s`;
}

function bytes(value) {
  if (value < 1000) return `${number(value)} B`;
  return value < 1e6 ? `${trim(value / 1e3, 3)} kB` : `${trim(value / 1e6, 3)} MB`;
}

// ---- the parts of a chart

function make(name, attributes, parent, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

function linear([from, to], [start, end]) {
  const scale = (value) => start + ((value - from) / (to - from || 1)) * (end - start);
  scale.invert = (place) => from + ((place - start) / (end - start || 1)) * (to - from);
  return scale;
}

function logarithmic([from, to], range) {
  const inner = linear([Math.log(from), Math.log(to)], range);
  const scale = (value) => inner(Math.log(value));
  scale.invert = (place) => Math.exp(inner.invert(place));
  return scale;
}

// Round numbers from 0 or so up to `to`: about `count` of them, whole ones if only those make sense.
function ticks(from, to, count, integers) {
  const rough = (to - from || 1) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
  if (integers) step = Math.max(1, Math.round(step));
  const found = [];
  for (let i = Math.ceil(from / step - 1e-9); i * step <= to * (1 + 1e-9); i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

function decades(from, to) {
  const found = [];
  for (let power = Math.round(Math.log10(from)); power <= Math.round(Math.log10(to)); power++) found.push(Number(`1e${power}`));
  return found;
}

function canvas(id, height, margins) {
  const host = byId(id);
  host.replaceChildren();
  const width = Math.max(host.clientWidth, 260);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("height", height);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  host.append(svg);
  return { svg, left: margins.left, right: width - margins.right, top: margins.top, bottom: height - margins.bottom };
}

function leftAxis(box, scale, values, format) {
  for (const value of values) {
    const y = scale(value);
    make("line", { x1: box.left, x2: box.right, y1: y, y2: y, class: "grid" }, box.svg);
    make("text", { x: box.left - 8, y: y + 4, "text-anchor": "end" }, box.svg, format(value));
  }
}

function bottomAxis(box, scale, values, format, title) {
  make("line", { x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom, class: "base" }, box.svg);
  for (const value of values) {
    const x = scale(value);
    make("line", { x1: x, x2: x, y1: box.bottom, y2: box.bottom + 4, class: "base" }, box.svg);
    make("text", { x, y: box.bottom + 18, "text-anchor": "middle" }, box.svg, format(value));
  }
  make("text", { x: (box.left + box.right) / 2, y: box.bottom + 36, "text-anchor": "middle" }, box.svg, title);
}

const path = (xs, ys, x, y) => xs.map((value, i) => `${i ? "L" : "M"}${x(value).toFixed(1)} ${y(ys[i]).toFixed(1)}`).join("");
const steps = (xs, ys, x, y) => xs.map((value, i) => `${i ? `H${x(value).toFixed(1)}V` : `M${x(value).toFixed(1)} `}${y(ys[i]).toFixed(1)}`).join("");

function legend(id, entries) {
  byId(id).replaceChildren(...entries.map(([kind, colour, text]) => {
    const entry = document.createElement("span");
    const mark = document.createElement("i");
    mark.className = kind;
    mark.style[kind === "block" ? "background" : "borderColor"] = colour;
    entry.append(mark, text);
    return entry;
  }));
}

// ---- what is under the pointer

function showTip(event, text) {
  const tip = byId("tip");
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  const { offsetWidth, offsetHeight } = tip;
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - offsetWidth - 8))}px`;
  tip.style.top = `${event.clientY + 16 + offsetHeight > innerHeight ? event.clientY - offsetHeight - 12 : event.clientY + 16}px`;
}

function tipOn(element, text) {
  element.classList.add("hot");
  element.addEventListener("pointermove", (event) => { event.stopPropagation(); showTip(event, text); });
  element.addEventListener("pointerleave", (event) => showTip(event, ""));
}

// A line follows the pointer; `tell(value)` says what stands there.
function crosshair(box, x, tell) {
  const line = make("line", { y1: box.top, y2: box.bottom, class: "cross", visibility: "hidden" }, box.svg);
  box.svg.addEventListener("pointermove", (event) => {
    const place = event.clientX - box.svg.getBoundingClientRect().left;
    const inside = place >= box.left && place <= box.right;
    line.setAttribute("visibility", inside ? "visible" : "hidden");
    line.setAttribute("x1", place);
    line.setAttribute("x2", place);
    showTip(event, inside ? tell(x.invert(place)) : "");
  });
  box.svg.addEventListener("pointerleave", (event) => {
    line.setAttribute("visibility", "hidden");
    showTip(event, "");
  });
}

const lastAtOrBefore = (sorted, value) => {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle + 1; else high = middle;
  }
  return low - 1;
};

// ---- convergence

function drawCurve() {
  const curve = data.curve;
  if (!curve) return;
  const box = canvas("chart-curve", 350, { left: 52, right: 18, top: 56, bottom: 46 });
  const ends = [curve.seconds[0], curve.seconds.at(-1)];
  const x = logarithmic(ends, [box.left, box.right]), y = linear([0, 1], [box.bottom, box.top]);
  leftAxis(box, y, [0, 0.25, 0.5, 0.75, 1], percent);
  bottomAxis(box, x, decades(...ends), seconds, "time since the write (log scale)");
  make("text", { x: 0, y: box.top - 14, class: "title" }, box.svg, "Share of the nodes");
  const series = [["slowest 1 % of the writes", "slowest", "--b", "6 4"], ["mean of all writes", "mean", "--c", "2 3"], ["median write", "median", "--a", ""]];
  for (const [, key, colour, dash] of series) {
    make("path", { d: (key === "mean" ? path : steps)(curve.seconds, curve[key], x, y), fill: "none", style: `stroke:var(${colour})`, "stroke-width": 2.2, "stroke-dasharray": dash }, box.svg);
  }
  legend("legend-curve", series.map(([text, , colour, dash]) => [dash ? "dash" : "", `var(${colour})`, text]).reverse());
  const marks = [["p50", data.delivery.p50], ["p99", data.delivery.p99]].filter(([, at]) => at >= ends[0]);
  marks.forEach(([name, at], row) => {
    const place = x(at), flip = place > (box.left + box.right) / 2;
    make("line", { x1: place, x2: place, y1: 4 + row * 15, y2: box.bottom, style: "stroke:var(--soft)", "stroke-dasharray": "1 3" }, box.svg);
    make("text", { x: place + (flip ? -5 : 5), y: 13 + row * 15, "text-anchor": flip ? "end" : "start" }, box.svg, `${name} of deliveries: ${seconds(at)}`);
  });
  box.svg.setAttribute("aria-label", `Half of all deliveries took up to ${seconds(data.delivery.p50)}, 99 % up to ${seconds(data.delivery.p99)}.`);
  crosshair(box, x, (at) => {
    const i = Math.max(0, lastAtOrBefore(curve.seconds, at));
    const shares = [...series].reverse().map(([text, key]) => `${text}: ${percentBelow(curve[key][i])}`);
    return [`${seconds(curve.seconds[i])} after the write, share of the nodes that hold`, ...shares].join("\n");
  });
}

// ---- everything over virtual time

// Rows of the timeline: one for each fault, or one for each kind if there are too many.
function faultRows() {
  if (data.intervals.length <= 24) return data.intervals.map((each) => ({ label: each.label, of: [each] }));
  return [...new Set(data.intervals.map((each) => each.kind))].map((kind) => {
    const of = data.intervals.filter((each) => each.kind === kind);
    return { label: of.length > 1 ? `${kind} (${of.length})` : of[0].label, of };
  });
}

function drawTime() {
  const rows = faultRows(), samples = data.samples, bins = data.delivered;
  const place = { delivered: 24, states: 214, faults: 344 }; // top of each panel
  place.datagrams = place.faults + (rows.length ? 32 + rows.length * 21 : 0);
  place.bytes = place.datagrams + 120;
  const box = canvas("chart-time", place.bytes + 132, { left: 74, right: 18, top: 24, bottom: 46 });
  const x = linear([0, data.seconds], [box.left, box.right]);
  const title = (text, top) => make("text", { x: box.left, y: top - 9, class: "title" }, box.svg, text);
  for (const each of data.intervals.filter((each) => each.sides.length)) {
    make("rect", { x: x(each.start), width: Math.max(1, x(each.end) - x(each.start)), y: box.top, height: box.bottom - box.top, style: "fill:var(--shade)", opacity: 0.12 }, box.svg);
  }
  if (data.duration < data.seconds * 0.995) {
    make("line", { x1: x(data.duration), x2: x(data.duration), y1: box.top, y2: box.bottom, style: "stroke:var(--soft)", "stroke-dasharray": "5 4" }, box.svg);
    const flip = x(data.duration) > box.left + 180;
    make("text", { x: x(data.duration) + (flip ? -6 : 6), y: place.delivered - 9, "text-anchor": flip ? "end" : "start" }, box.svg, "faults and writes end");
  }

  const share = linear([0, 1], [place.delivered + 140, place.delivered]);
  title("Delivered, of all writes so far on all running nodes", place.delivered);
  leftAxis(box, share, [0, 0.25, 0.5, 0.75, 1], percent);
  const middles = bins.map((_, i) => ((i + 0.5) * data.seconds) / bins.length);
  make("path", { d: path(middles, bins, x, share), fill: "none", style: "stroke:var(--a)", "stroke-width": 2 }, box.svg);

  const most = Math.max(2, ...samples.states);
  const states = linear([0, most], [place.states + 80, place.states]);
  title("Different states among the running nodes, sampled", place.states);
  leftAxis(box, states, ticks(0, most, 4, true), number);
  make("path", { d: steps(samples.at, samples.states, x, states), fill: "none", style: "stroke:var(--c)", "stroke-width": 2 }, box.svg);

  if (rows.length) title("Faults", place.faults);
  rows.forEach(({ label, of }, i) => drawFaults(box, x, label, of, place.faults + i * 21));

  for (const [key, text, colour, format] of [["datagrams", "Datagrams a second, each running node", "--b", number], ["bytes", "Bytes a second, each running node", "--b", bytes]]) {
    const top = Math.max(...samples[key], 1e-9), y = linear([0, top], [place[key] + 80, place[key]]);
    title(text, place[key]);
    leftAxis(box, y, ticks(0, top, 3), format);
    // What was sent since the sample before: a step ends where its sample was taken.
    make("path", { d: steps([0, ...samples.at], [...samples[key], samples[key].at(-1) ?? 0], x, y), fill: "none", style: `stroke:var(${colour})`, "stroke-width": 1.8 }, box.svg);
  }
  bottomAxis(box, x, ticks(0, data.seconds, 8), number, "virtual time in seconds");
  box.svg.setAttribute("aria-label", `Share delivered, different states, ${data.intervals.length} faults and traffic over ${seconds(data.seconds)} of virtual time.`);
  crosshair(box, x, tellTime);
}

function tellTime(at) {
  const { samples, delivered } = data, i = Math.max(0, lastAtOrBefore(samples.at, at));
  const lines = [`at ${at.toFixed(2)} s`, `delivered ${percentBelow(delivered[Math.min(delivered.length - 1, Math.floor((at / data.seconds) * delivered.length))])}`];
  if (samples.at.length) {
    lines.push(`${samples.states[i]} different states among ${samples.running[i]} running nodes`);
    const next = Math.min(samples.at.length - 1, lastAtOrBefore(samples.at, at) + 1);
    lines.push(`${number(samples.datagrams[next])} datagrams, ${bytes(samples.bytes[next])} a second and node`);
  }
  return [...lines, ...data.intervals.filter((each) => each.start <= at && at <= each.end).map((each) => each.label)].join("\n");
}

function drawFaults(box, x, label, of, top) {
  for (const each of of) {
    const start = x(each.start), width = x(each.end) - start, colour = each.sides.length ? "--shade" : "--b";
    const shape = width < 3
      ? make("path", { d: `M${start} ${top}l6 7l-6 7l-6 -7z` }, box.svg)
      : make("rect", { x: start, y: top, width, height: 14, rx: 3 }, box.svg);
    shape.setAttribute("style", `fill:var(${colour})`);
    if (of.length > 1) shape.setAttribute("opacity", 0.6);
    const when = width < 3 ? `at ${number(each.start)} s` : `${number(each.start)} s to ${number(each.end)} s`;
    tipOn(shape, `${each.label}\n${when}\n${each.detail}`);
  }
  // Beside the bar, where there is room for it; on the other side, or else over it, where there is not.
  const first = x(of[0].start), last = Math.max(...of.map((each) => x(each.end)), first + 6), wide = label.length * 6.4;
  const text = make("text", { y: top + 11 }, box.svg, label);
  if (last + 8 + wide < box.right) text.setAttribute("x", last + 8);
  else if (first - 8 - wide > box.left) { text.setAttribute("x", first - 8); text.setAttribute("text-anchor", "end"); }
  else { text.setAttribute("x", Math.max(first, box.left) + 6); text.setAttribute("style", "fill:var(--card)"); }
}

// ---- a number of each node

// A bar of a histogram; one node among a thousand must still be seen.
function bar(box, left, right, y, value, colour) {
  const height = value ? Math.max(2, box.bottom - y(value)) : 0;
  return make("rect", { x: left, width: Math.max(1, right - left), y: box.bottom - height, height, style: `fill:var(${colour})` }, box.svg);
}

function drawNodes(id, values, format, colour, unit) {
  if (values.length > MANY) return drawHistogram(id, values, format, colour, unit);
  const box = canvas(id, 200, { left: 58, right: 6, top: 10, bottom: 46 });
  const most = Math.max(...values, 1e-9), y = linear([0, most * 1.04], [box.bottom, box.top]);
  const step = (box.right - box.left) / values.length, gap = Math.min(6, step * 0.2);
  leftAxis(box, y, ticks(0, most, 4), format);
  const every = Math.ceil(34 / step);
  values.forEach((value, i) => {
    const left = box.left + i * step, name = data.names[i];
    tipOn(bar(box, left + gap / 2, left + step - gap / 2, y, value, colour), `${name}${data.up[i] ? "" : " (not running in the end)"}\n${format(value)} ${unit}`);
    if (i % every === 0) make("text", { x: left + step / 2, y: box.bottom + 18, "text-anchor": "middle" }, box.svg, name);
  });
  bottomAxis(box, (value) => value, [], format, "node");
  box.svg.setAttribute("aria-label", `${unit} of each node, at most ${format(most)}`);
}

function drawHistogram(id, values, format, colour, unit) {
  const low = Math.min(...values), high = Math.max(...values), count = 30;
  const width = (high - low) / count || 1, bins = Array(count).fill(0);
  for (const value of values) bins[Math.min(count - 1, Math.floor((value - low) / width))]++;
  const box = canvas(id, 200, { left: 58, right: 22, top: 10, bottom: 46 });
  const most = Math.max(...bins);
  const x = linear([low, low + width * count], [box.left, box.right]), y = linear([0, most * 1.04], [box.bottom, box.top]);
  leftAxis(box, y, ticks(0, most, 4, true), number);
  bins.forEach((nodes, i) => {
    const left = x(low + i * width), right = x(low + (i + 1) * width);
    tipOn(bar(box, left + 0.5, right - 0.5, y, nodes, colour), `${nodes} nodes\n${format(low + i * width)} to ${format(low + (i + 1) * width)} ${unit}`);
  });
  bottomAxis(box, x, ticks(low, low + width * count, 5), format, `${unit}; height: number of nodes`);
  box.svg.setAttribute("aria-label", `${unit}: ${format(low)} to ${format(high)} over ${values.length} nodes`);
}

// ---- in-degrees, beside those of a random graph

function drawDegrees() {
  const graph = data.graph;
  byId("figure-degrees").hidden = !graph;
  if (!graph) return;
  const all = [...graph.degrees, ...graph.random].map(([degree]) => degree);
  const low = Math.min(...all), high = Math.max(...all), width = Math.max(1, Math.ceil((high - low + 1) / 60));
  const count = Math.floor((high - low) / width) + 1;
  const binned = (pairs) => pairs.reduce((bins, [degree, nodes]) => { bins[Math.floor((degree - low) / width)] += nodes; return bins; }, Array(count).fill(0));
  const ours = binned(graph.degrees), random = binned(graph.random), most = Math.max(...ours, ...random);
  const box = canvas("chart-degrees", 230, { left: 52, right: 18, top: 10, bottom: 46 });
  const x = linear([low - 0.5, low + count * width - 0.5], [box.left, box.right]), y = linear([0, most * 1.04], [box.bottom, box.top]);
  leftAxis(box, y, ticks(0, most, 4, true), number);
  ours.forEach((nodes, i) => {
    const left = x(low + i * width - 0.5), right = x(low + (i + 1) * width - 0.5), degrees = width > 1 ? `${low + i * width} to ${low + (i + 1) * width - 1}` : low + i;
    tipOn(bar(box, left + 1, right - 1, y, nodes, "--a"), `in-degree ${degrees}\n${nodes} nodes; ${random[i]} in the random graph`);
  });
  const edges = Array.from({ length: count + 1 }, (_, i) => low + i * width - 0.5);
  const d = `M${box.left} ${box.bottom}` + random.map((nodes, i) => `V${y(nodes)}H${x(edges[i + 1])}`).join("") + `V${box.bottom}`;
  make("path", { d, fill: "none", style: "stroke:var(--b);pointer-events:none", "stroke-width": 2 }, box.svg);
  bottomAxis(box, x, ticks(low, high, 8, true), number, "in-degree: how many nodes would send to it; height: number of nodes");
  legend("legend-degrees", [["block", "var(--a)", "this run"], ["", "var(--b)", "random graph of the same out-degrees"]]);
  box.svg.setAttribute("aria-label", `In-degrees from ${low} to ${high}`);
}

function drawAll() {
  drawCurve();
  drawTime();
  drawNodes("chart-datagrams", data.datagrams, number, "--b", "datagrams");
  drawNodes("chart-bytes", data.bytes, bytes, "--b", "sent");
  drawNodes("chart-redundancy", data.redundancy, number, "--c", "received for each new one");
  drawDegrees();
}

byId("copy")?.addEventListener("click", async (event) => {
  const command = byId("command");
  try {
    await navigator.clipboard.writeText(command.textContent);
    event.target.textContent = "Copied";
  } catch { // no access to the clipboard: leave it selected
    getSelection().selectAllChildren(command);
  }
});

let drawnFor = 0;
new ResizeObserver(() => {
  if (document.body.clientWidth !== drawnFor) drawAll();
  drawnFor = document.body.clientWidth;
}).observe(document.body);
drawAll();
