"use strict";
// Play-back: the nodes on a canvas at one moment. `state` decides everything that is seen; the address may name it
// (#write=3&t=0.5, or write=all, and play for one that goes on), so that a moment can be linked to.

(() => {
  const { writes, names } = data, count = names.length, EVERY = -1;
  const [board, scrub, chooser] = [byId("pb-canvas"), byId("pb-scrub"), byId("pb-write")];
  const state = { write: writes.at.length ? 0 : EVERY, s: 0, playing: false };
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  // ---- what happened: for each write, (seconds, node, from, +1 or -1) in order of time

  const story = writes.at.map((at, w) => {
    const found = [{ at, node: writes.node[w], from: -1, step: 1, write: w }], flat = writes.arrivals[w];
    for (let i = 0, units = 0; i < flat.length; i += 3) {
      units += flat[i]; // each is told as the time since the one before
      found.push({ at: at + units * data.unit, node: flat[i + 1], from: flat[i + 2], step: 1, write: w });
    }
    for (const [when, node] of writes.losses[w]) found.push({ at: when, node, from: -1, step: -1, write: w });
    return found.sort((one, other) => one.at - other.at);
  });
  const everything = story.flat().sort((one, other) => one.at - other.at);

  // ---- from the scrubber, 0 to 1, to virtual time: one write is over in milliseconds, so its time is logarithmic

  function span() {
    if (state.write === EVERY) return { zero: 0, at: (s) => s * data.seconds, s: (at) => at / data.seconds, events: everything };
    const events = story[state.write], zero = events[0].at, delays = events.map((each) => each.at - zero).filter((each) => each > 0);
    const first = Math.max(1e-5, (delays[0] ?? 1e-3) / 2), last = Math.max(first * 10, (delays.at(-1) ?? 0) * 1.1);
    const ratio = Math.log(last / first);
    return {
      zero, events,
      at: (s) => (s <= 0 ? zero : zero + first * Math.exp(ratio * s)),
      s: (at) => (at <= zero ? 0 : Math.log((at - zero) / first) / ratio),
    };
  }

  let now = span();

  // Who holds how many writes at this moment, and which deliveries led there. Everything is counted anew unless time
  // only went on.
  const held = new Int32Array(count), seen = { events: null, next: 0, written: 0, tree: [] };

  function catchUp(at) {
    if (seen.events !== now.events || (seen.next > 0 && now.events[seen.next - 1].at > at)) {
      held.fill(0);
      Object.assign(seen, { events: now.events, next: 0, written: 0, tree: [] });
    }
    for (; seen.next < now.events.length && now.events[seen.next].at <= at; seen.next++) {
      const event = now.events[seen.next];
      held[event.node] += event.step;
      if (event === story[event.write][0]) seen.written++;
      if (event.from >= 0 && state.write !== EVERY) seen.tree.push(event);
    }
  }

  const runs = (node, at) => data.lives[node].some(([start, end]) => start <= at && (at < end || (end >= data.seconds && data.up[node])));
  const active = (at) => data.intervals.filter((each) => each.start <= at && at < each.end);

  // ---- where the nodes are: a circle, or a disc if they are many, and one of them for each side of a partition

  const place = Array.from({ length: count }, () => [0, 0]);
  let size = [0, 0], settled = false, lastKey = "";

  function targets(at) {
    const sides = active(at).filter((each) => each.sides.length);
    const groups = new Map();
    for (let i = 0; i < count; i++) {
      const key = sides.map((each) => each.sides[i] ?? 0).join();
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(i);
    }
    const ordered = [...groups.values()], found = Array(count);
    const weight = (group) => Math.sqrt(group.length) + 1, all = ordered.reduce((sum, group) => sum + weight(group), 0);
    let left = 0;
    for (const group of ordered) {
      const width = (size[0] * weight(group)) / all, centre = [left + width / 2, size[1] / 2];
      const margin = count > MANY ? 14 : 34, high = Math.min(width, size[1]) / 2 - margin, wide = Math.min(width / 2 - margin, high * 1.5);
      group.forEach((node, i) => {
        const turn = count > MANY ? i * 2.399963 : (2 * Math.PI * i) / group.length - Math.PI / 2;
        const far = count > MANY ? Math.sqrt((i + 0.5) / group.length) : group.length > 1 ? 1 : 0;
        found[node] = [centre[0] + far * wide * Math.cos(turn), centre[1] + far * high * Math.sin(turn), centre];
      });
      left += width;
    }
    return found;
  }

  function move(goals) {
    const ease = settled && !calm.matches ? 0.16 : 1;
    let moving = false;
    goals.forEach(([x, y], i) => {
      const [dx, dy] = [x - place[i][0], y - place[i][1]];
      const jump = Math.abs(dx) + Math.abs(dy) < 0.5 ? 1 : ease;
      place[i][0] += dx * jump;
      place[i][1] += dy * jump;
      moving ||= jump < 1;
    });
    settled = true;
    return moving;
  }

  // ---- drawing

  function palette() {
    const style = getComputedStyle(document.documentElement);
    return Object.fromEntries(["a", "b", "c", "ink", "soft", "idle", "card", "fail", "shade"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  }

  function line(pen, from, to, colour, width, alpha) {
    Object.assign(pen, { strokeStyle: colour, lineWidth: width, globalAlpha: alpha });
    pen.beginPath();
    pen.moveTo(...place[from]);
    pen.lineTo(...place[to]);
    pen.stroke();
    pen.globalAlpha = 1;
  }

  // Every delivery to this moment of one write, faint; the latest, of one or of all, bright.
  function drawEdges(pen, colours) {
    for (const event of seen.tree) line(pen, event.from, event.node, colours.a, 1, count > MANY ? 0.13 : 0.3);
    for (let i = seen.next - 1; i >= 0 && seen.next - i < 3000; i--) {
      const event = now.events[i], age = state.s - now.s(event.at), window = state.write === EVERY ? 0.006 : 0.05;
      if (age > window) break;
      if (event.from >= 0) line(pen, event.from, event.node, colours.b, count > MANY ? 1.3 : 2.5, 1 - age / window);
    }
  }

  function drawNode(pen, node, look, colours) {
    const [x, y] = place[node];
    pen.beginPath();
    pen.arc(x, y, look.radius, 0, 2 * Math.PI);
    pen.fillStyle = colours.card;
    pen.fill();
    pen.globalAlpha = look.share;
    pen.fillStyle = colours.a;
    pen.fill();
    pen.globalAlpha = 1;
    pen.lineWidth = look.hit || look.first ? 3 : 1.5;
    pen.strokeStyle = look.first ? colours.ink : look.hit ? colours.fail : look.share ? colours.a : colours.idle;
    pen.setLineDash(look.down ? [2, 3] : []);
    pen.stroke();
    pen.setLineDash([]);
  }

  function drawName(pen, node, goal, radius, colours) {
    const [x, y] = place[node], [dx, dy] = [goal[0] - goal[2][0], goal[1] - goal[2][1]], far = Math.hypot(dx, dy) || 1;
    Object.assign(pen, { fillStyle: colours.soft, textAlign: "center", textBaseline: "middle" });
    pen.fillText(names[node], x + (dx / far) * (radius + 13), y + (far > 1 ? dy / far : 1) * (radius + 11));
  }

  function draw() {
    const at = now.at(state.s), pen = board.getContext("2d"), colours = palette(), ratio = devicePixelRatio || 1;
    catchUp(at);
    size = [board.clientWidth, board.clientHeight];
    board.width = size[0] * ratio;
    board.height = size[1] * ratio;
    pen.scale(ratio, ratio);
    pen.font = "12px system-ui, sans-serif";
    const key = size.join();
    if (key !== lastKey) settled = false; // nothing moves when the page does
    lastKey = key;
    const goals = targets(at), moving = move(goals);
    drawEdges(pen, colours);
    const radius = count > 400 ? 4.5 : count > MANY ? 6 : count > 24 ? 8 : 12;
    const struck = new Set(active(at).filter((each) => !each.sides.length).flatMap((each) => each.nodes));
    let running = 0, holding = 0;
    for (let node = 0; node < count; node++) {
      const down = !runs(node, at), share = state.write === EVERY ? held[node] / Math.max(1, seen.written) : Math.min(1, held[node]);
      running += !down;
      holding += down ? 0 : held[node];
      const first = state.write !== EVERY && node === now.events[0].node;
      drawNode(pen, node, { radius: first ? radius * 1.25 : radius, share: down ? share * 0.25 : share, hit: struck.has(node), down, first }, colours);
      if (count <= MANY) drawName(pen, node, goals[node], radius, colours);
    }
    tellCount(at, running, holding);
    return moving;
  }

  function tellCount(at, running, holding) {
    byId("pb-count").value = state.write === EVERY
      ? `${percentBelow(seen.written && running ? holding / seen.written / running : 1)} of ${whole(seen.written)} writes × ${whole(running)} running nodes at ${at.toFixed(2)} s`
      : `${whole(holding)} of ${whole(running)} running nodes have it ${state.s > 0 ? `${seconds(at - now.zero)} after the write` : "as it is written"}`;
  }

  // Above the scrubber: how far the news has come at each place of it.
  function drawSpark() {
    const box = canvas("pb-spark", 46, { left: 8, right: 8, top: 6, bottom: 1 });
    const x = linear([0, 1], [box.left, box.right]), y = linear([0, 1], [box.bottom, box.top]);
    for (const each of data.intervals.filter((each) => each.sides.length)) {
      const [from, to] = [each.start, each.end].map((at) => Math.min(1, Math.max(0, now.s(at))));
      if (to > from) make("rect", { x: x(from), width: x(to) - x(from), y: 0, height: 46, style: "fill:var(--shade)", opacity: 0.16 }, box.svg);
    }
    let xs = data.delivered.map((_, i) => (i + 0.5) / data.delivered.length), ys = data.delivered;
    if (state.write !== EVERY) {
      let has = 0;
      xs = [0, ...now.events.map((each) => now.s(each.at)), 1];
      ys = [0, ...now.events.map((each) => (has += each.step) / count), has / count];
    }
    const d = (state.write === EVERY ? path : steps)(xs, ys, x, y);
    make("path", { d: `${d}V${box.bottom}H${box.left}Z`, style: "fill:var(--a)", opacity: 0.2 }, box.svg);
    make("path", { d, fill: "none", style: "stroke:var(--a)", "stroke-width": 1.5 }, box.svg);
  }

  // ---- control

  let frame = 0, before = 0;

  function refresh() {
    if (!frame) frame = requestAnimationFrame(step);
  }

  function step(time) {
    frame = 0;
    if (state.playing) {
      const lasts = state.write === EVERY ? 24 : 8; // seconds of watching at normal speed
      state.s = Math.min(1, state.s + (Math.min(100, time - (before || time)) / 1000 / lasts) * byId("pb-speed").value);
      if (state.s >= 1) play(false);
      scrub.value = Math.round(state.s * 1000);
    }
    before = state.playing ? time : 0;
    if (draw() || state.playing) refresh();
  }

  function play(on) {
    if (on && state.s >= 1) state.s = 0;
    state.playing = on;
    byId("pb-play").textContent = on ? "Pause" : "Play";
    byId("pb-play").setAttribute("aria-pressed", on);
    if (!on) remember();
    refresh();
  }

  function go(s) {
    state.s = Math.min(1, Math.max(0, s));
    scrub.value = Math.round(state.s * 1000);
    scrub.setAttribute("aria-valuetext", seconds(now.at(state.s) - now.zero));
    remember();
    refresh();
  }

  function choose(write) {
    state.write = write;
    now = span();
    chooser.value = write;
    byId("pb-from").textContent = write === EVERY ? "0 s" : `written at ${now.zero.toFixed(2)} s by ${names[now.events[0].node]}`;
    byId("pb-to").textContent = write === EVERY ? seconds(data.seconds) : `${seconds(now.at(1) - now.zero)} later, log scale`;
    const shown = write === EVERY
      ? [["dot", "var(--a)", "the stronger the colour, the more of the writes it holds"]]
      : [["dot", "var(--ink)", "the writer"], ["dot", "var(--a)", "has it"], ["dot", "var(--idle)", "does not"]];
    legend("pb-legend", [...shown, ["", "var(--b)", "a delivery, just now"], ["dot", "var(--fail)", "under a fault of its own"]]);
    drawSpark();
    go(state.s);
  }

  const address = () => `#write=${state.write === EVERY ? "all" : writes.number[state.write]}&t=${Number(state.s.toFixed(4))}`;
  let touched = false;

  function remember() {
    if (touched && !state.playing) history.replaceState(null, "", address());
  }

  function follow() {
    const wanted = new URLSearchParams(location.hash.slice(1)), which = wanted.get("write");
    const found = which === "all" ? EVERY : writes.number.findIndex((each) => each >= Number(which ?? writes.number[state.write]));
    state.s = Math.min(1, Math.max(0, Number(wanted.get("t")) || 0));
    settled = false;
    choose(which === "all" || !writes.at.length ? EVERY : found < 0 ? writes.at.length - 1 : found);
    if (wanted.has("play")) play(true);
  }

  const touch = (act) => (event) => { touched = true; act(event); };
  const option = (value, text) => chooser.append(new Option(text, value));

  option(EVERY, "all writes");
  story.forEach((events, w) => {
    const got = new Set(events.map((each) => each.node)).size, last = events.at(-1).at - events[0].at;
    option(w, `#${writes.number[w]} · ${names[events[0].node]} at ${events[0].at.toFixed(1)} s → ${got} nodes in ${seconds(last)}`);
  });
  byId("pb-play").addEventListener("click", touch(() => play(!state.playing)));
  byId("pb-slowest").addEventListener("click", touch(() => {
    const lasted = story.map((events) => events.at(-1).at - events[0].at);
    state.s = 0;
    if (lasted.length) choose(lasted.indexOf(Math.max(...lasted)));
  }));
  chooser.addEventListener("change", touch(() => { state.s = 0; choose(Number(chooser.value)); }));
  scrub.addEventListener("input", touch(() => { if (state.playing) play(false); go(scrub.value / 1000); }));
  byId("playback").addEventListener("keydown", touch((event) => {
    const other = { ArrowUp: -1, ArrowDown: 1 }[event.key], ahead = { ArrowLeft: -0.01, ArrowRight: 0.01 }[event.key];
    if (["SELECT", "BUTTON"].includes(event.target.tagName) || !(event.key === " " || other || ahead)) return;
    event.preventDefault();
    if (event.key === " ") play(!state.playing);
    else if (ahead) go(state.s + ahead);
    else choose(Math.min(writes.at.length - 1, Math.max(EVERY, state.write + other)));
  }));
  board.addEventListener("pointermove", (event) => {
    const { left, top } = board.getBoundingClientRect(), [x, y] = [event.clientX - left, event.clientY - top];
    const near = place.findIndex((each) => Math.hypot(each[0] - x, each[1] - y) < 13);
    const at = now.at(state.s), got = near < 0 || state.write === EVERY ? null : now.events.find((each) => each.node === near && each.step > 0);
    const what = state.write === EVERY ? `holds ${held[near]} of ${seen.written} writes` : got ? `has it after ${seconds(got.at - now.zero)}${got.from >= 0 ? `, from ${names[got.from]}` : ""}` : "never gets it";
    showTip(event, near < 0 ? "" : `${names[near]}${runs(near, at) ? "" : " (not running)"}\n${what}`);
  });
  board.addEventListener("pointerleave", (event) => showTip(event, ""));
  board.addEventListener("click", touch(() => play(!state.playing)));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", refresh);
  addEventListener("hashchange", () => { follow(); draw(); });
  new ResizeObserver(() => { drawSpark(); refresh(); }).observe(board);
  follow();
  draw();
  document.documentElement.dataset.ready = "yes";
})();
