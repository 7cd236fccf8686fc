// Draws the plots of a report with uPlot. No text of the report becomes markup: names go through textContent and fillText.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = data.at, samples = data.samples, last = at[at.length - 1];
  const drawn = new Set(); // the plots that are on the page

  // Colours are those of the style sheet, for light and dark.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const names = ["card", "soft", "grid", "blue", "sky", "green", "orange", "red", "violet", "lilac", "pink"];
  let paint = {};
  const mix = () => {
    const style = getComputedStyle(document.documentElement);
    paint = Object.fromEntries(names.map((name) => [name, style.getPropertyValue("--" + name).trim()]));
  };
  mix();
  dark.addEventListener("change", () => {
    mix();
    for (const plot of drawn) plot.redraw();
  });

  const clock = (seconds) => {
    const s = Math.round(seconds), pad = (n) => String(n).padStart(2, "0");
    const text = Math.floor(s / 60) % 60 + ":" + pad(s % 60);
    return s >= 3600 ? Math.floor(s / 3600) + ":" + text.padStart(5, "0") : text;
  };
  const number = (v) => {
    if (v === null || v === undefined) return "";
    const size = Math.abs(v);
    if (size >= 1e6) return +(v / 1e6).toPrecision(3) + " M";
    if (size >= 1e4) return +(v / 1e3).toPrecision(3) + " k";
    return String(+v.toPrecision(size >= 1000 ? 4 : 3));
  };
  const milliseconds = (v) => {
    if (v === null || v === undefined) return "";
    if (v < 1) return +(v * 1000).toPrecision(3) + " µs";
    return v < 1000 ? +v.toPrecision(3) + " ms" : +(v / 1000).toPrecision(3) + " s";
  };
  const seconds = (v) => (v === null || v === undefined ? "" : v < 60 ? number(v) + " s" : clock(v));
  const percent = (v) => (v === null || v === undefined ? "" : number(v) + " %");

  // marks draws the events: a line each, and beside it the text, upwards. Texts that would cover each other share one place.
  const marks = (u) => {
    const { ctx, bbox } = u, unit = uPlot.pxRatio;
    const seen = data.marks
      .map((mark) => ({ text: mark.text, x: u.valToPos(mark.at, "x", true) }))
      .filter((mark) => mark.x >= bbox.left && mark.x <= bbox.left + bbox.width)
      .sort((a, b) => a.x - b.x);
    const labels = [];
    ctx.save();
    ctx.strokeStyle = paint.pink;
    ctx.lineWidth = unit;
    ctx.setLineDash([3 * unit, 3 * unit]);
    for (const mark of seen) {
      ctx.beginPath();
      ctx.moveTo(mark.x, bbox.top);
      ctx.lineTo(mark.x, bbox.top + bbox.height);
      ctx.stroke();
      const before = labels[labels.length - 1];
      if (before && mark.x - before.x < 13 * unit) before.texts.push(mark.text);
      else labels.push({ x: mark.x, texts: [mark.text] });
    }
    ctx.font = 10.5 * unit + "px system-ui, sans-serif";
    ctx.fillStyle = paint.pink;
    ctx.strokeStyle = paint.card; // around the letters, so that they can be read over lines
    ctx.lineWidth = 3 * unit;
    ctx.lineJoin = "round";
    ctx.setLineDash([]);
    ctx.textBaseline = "bottom";
    ctx.textAlign = "right";
    for (const label of labels) {
      const left = label.x - bbox.left < 13 * unit; // no room on the left of the line
      ctx.save();
      ctx.translate(label.x + (left ? 13 : -1) * unit, bbox.top + 4 * unit);
      ctx.rotate(-Math.PI / 2);
      const text = fit(ctx, label.texts, bbox.height - 8 * unit);
      ctx.strokeText(text, 0, 0);
      ctx.fillText(text, 0, 0);
      ctx.restore();
    }
    ctx.restore();
  };
  const fit = (ctx, texts, room) => {
    for (let kept = texts.length; kept > 0; kept--) {
      const text = texts.slice(0, kept).join(", ") + (kept < texts.length ? ", +" + (texts.length - kept) : "");
      if (ctx.measureText(text).width <= room) return text;
    }
    const letters = [...texts[0]];
    const more = texts.length > 1 ? ", +" + (texts.length - 1) : "";
    while (letters.length && ctx.measureText(letters.join("") + "…" + more).width > room) letters.pop();
    return letters.join("") + "…" + more;
  };

  // line is a series: its name, its colour, and how it looks.
  const line = (label, values, colour, more = {}) => ({
    values,
    colour,
    options: {
      label,
      stroke: () => paint[colour],
      width: more.width || 1.75,
      dash: more.dash,
      fill: more.fill ? () => paint[colour] + "2b" : undefined,
      scale: more.scale || "y",
      paths: more.step ? uPlot.paths.stepped({ align: -1 }) : undefined,
      points: { show: more.points || at.length < 3 },
      spanGaps: false,
      value: (u, v) => (more.format || number)(v),
    },
  });

  const fromZero = (u, min, max) => [0, max > 0 ? uPlot.rangeNum(0, max, 0.08, true)[1] : 1];
  const logarithmic = (u, min, max) => (min === null || !(min > 0) ? [0.1, 10] : uPlot.rangeLog(min, max, 10, false));

  const axis = (format, more = {}) => ({
    stroke: () => paint.soft,
    grid: { stroke: () => paint.grid, width: 1, show: more.side !== 1 },
    ticks: { show: false },
    font: "11.5px system-ui, sans-serif",
    size: 54,
    gap: 4,
    values: (u, splits) => splits.map((v) => (v === null ? "" : format(v))),
    ...more,
  });

  // draw puts a plot on the page: {title, note, lines, format, log, right, height, legend}.
  const draw = (where, what) => {
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    caption.textContent = what.title;
    for (const [text, style] of what.notes || []) {
      const span = document.createElement("span");
      span.textContent = text;
      span.className = style;
      caption.append(span);
    }
    figure.append(caption);
    where.append(figure);
    const inside = () => Math.max(200, figure.clientWidth - 16);
    const options = {
      width: inside(),
      height: what.height || 230,
      padding: [10, what.right ? 0 : 20, 0, 0],
      legend: { show: what.legend !== false, markers: { width: 0, fill: (u, i) => "var(--" + (i ? what.lines[i - 1].colour : "soft") + ")" } }, // follows the scheme
      cursor: { sync: { key: "time" }, drag: { x: true, y: false }, points: { size: 6 } },
      scales: {
        x: { time: false, range: (u, min, max) => (min === null ? [0, 1] : min >= max || (min <= at[0] && max >= last) ? [0, last || 1] : [min, max]) },
        y: what.log ? { distr: 3, log: 10, range: logarithmic } : { range: what.range || fromZero },
        ...(what.right ? { right: { range: fromZero } } : {}),
      },
      axes: [
        axis(clock, { size: 26, gap: 6, space: 64, incrs: [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400] }),
        axis(what.format || number, { scale: "y", space: 34 }),
        ...(what.right ? [axis(what.right, { scale: "right", side: 1, stroke: () => paint[what.rightColour] })] : []),
      ],
      series: [{ label: "at", value: (u, v) => (v === null ? "" : clock(v)) }, ...what.lines.map((l) => l.options)],
      bands: what.bands,
      hooks: { draw: [marks] },
    };
    const plot = new uPlot(options, [at, ...what.lines.map((l) => l.values)], figure);
    const watch = new ResizeObserver(() => plot.setSize({ width: inside(), height: plot.height }));
    watch.observe(figure);
    drawn.add(plot);
    return () => {
      watch.disconnect();
      drawn.delete(plot);
      plot.destroy();
      figure.remove();
    };
  };

  const positive = (values) => values.map((v) => (v > 0 ? v : null)); // a logarithmic scale has no 0
  const bound = (value, label, format) => line(label, at.map(() => value), "red", { dash: [7, 4], width: 1.5, format });

  // A run in runs, [value, count, …], as one value a point.
  const expand = (runs) => {
    const out = [];
    for (let i = 0; i < runs.length; i += 2) for (let n = 0; n < runs[i + 1]; n++) out.push(runs[i]);
    return out;
  };
  for (const server of data.servers) {
    for (const use of [server.get, server.set]) {
      use.limit = expand(use.limit);
      use.limited = use.limit.some((v) => v > 0);
      use.share = use.used.map((v, i) => (use.limit[i] > 0 ? (100 * v) / use.limit[i] : v > 0 && use.limited ? 999 : 0));
      use.fullest = use.share.reduce((a, b) => Math.max(a, b), 0);
    }
  }
  const limited = data.servers.filter((s) => s.get.limited || s.set.limited);
  const shares = (kind, pick) => at.map((_, i) => pick(limited.map((s) => s[kind].share[i]).sort((a, b) => a - b)));
  const greatest = (sorted) => sorted[sorted.length - 1], middle = (sorted) => sorted[sorted.length >> 1];

  const overview = [
    { title: "Players", lines: [line("players", samples.players, "blue", { fill: true })] },
    {
      title: "Commands a second", right: number, rightColour: "red",
      lines: [line("commands", samples.commands, "blue", { fill: true }), line("failed (right)", samples.failed, "red", { scale: "right" })],
    },
    {
      title: "Latency", notes: [["from when a command should have been sent", ""]], log: true, format: milliseconds,
      lines: [["max", "max", "orange"], ["p99.9", "p999", "pink"], ["p99", "p99", "violet"], ["p90", "p90", "sky"], ["p50", "p50", "blue"]]
        .map(([label, name, colour]) => line(label, positive(samples[name]), colour, { format: milliseconds, width: name === "p99" ? 2.25 : 1.5 })),
      bands: [{ series: [3, 5], fill: () => paint.violet + "22" }],
    },
    {
      title: "Loads and saves a second", right: number, rightColour: "orange",
      lines: [line("saves", samples.saves, "green", { fill: true }), line("loads (right)", samples.loads, "orange", { scale: "right" })],
    },
    {
      title: "Age of the oldest change without a snapshot", format: seconds,
      lines: [line("age", samples.dirtyAge, "green", { fill: true, format: seconds }), ...(data.bound > 0 ? [bound(data.bound, "promised", seconds)] : [])],
    },
    { title: "Players and worlds with such changes", lines: [line("dirty", samples.dirty, "green", { fill: true })] },
    {
      title: "Waiting for budget", right: number, rightColour: "red",
      lines: [
        line("saves", samples.queueSet, "green", { fill: true }), line("loads", samples.queueGet, "orange", { fill: true }),
        line("refused (right)", samples.refused, "red", { scale: "right" }),
      ],
    },
  ];
  if (limited.length) {
    overview.push({
      title: "Budgets used", notes: [["the fullest and the middle one of " + limited.length + (limited.length > 1 ? " servers" : " server"), ""]], format: percent,
      range: (u, min, max) => fromZero(u, 0, Math.max(max, 105)),
      lines: [
        line("saves", shares("set", greatest), "green", { format: percent }), line("saves, middle", shares("set", middle), "green", { format: percent, width: 1, dash: [2, 3] }),
        line("loads", shares("get", greatest), "orange", { format: percent }), line("loads, middle", shares("get", middle), "orange", { format: percent, width: 1, dash: [2, 3] }),
        bound(100, "limit", percent),
      ],
    });
  }
  const plots = document.getElementById("plots");
  for (const what of overview) draw(plots, what);

  // Budgets: the servers that came nearest to their limit first, a page of them at a time.
  const grid = document.getElementById("budgets");
  if (!grid) return;
  const page = 12;
  const filter = document.getElementById("filter"), shown = document.getElementById("shown"), more = document.getElementById("more");
  let kind = "set", count = page, remove = [];
  const budget = (server) => {
    const use = server[kind], over = use.used.map((v, i) => (use.limited && v > use.limit[i] ? v : null));
    const colour = kind === "set" ? "green" : "orange", broken = over.some((v) => v !== null) || (use.limited && use.most > use.allowed);
    const most = "at most " + number(use.most);
    const notes = [[use.limited ? most + " of " + number(use.allowed) : server.profile === "unlimited" ? most + ", unlimited" : "not measured", broken ? "over" : ""]];
    if (use.refused) notes.push([number(use.refused) + " refused", ""]);
    const lines = [line("used", use.used, colour, { fill: true })];
    if (use.limited) lines.push(line("limit", use.limit, "red", { dash: [7, 4], width: 1.5, step: true }), line("over", over, "red", { width: 3, fill: true }));
    return draw(grid, { title: server.name, notes, lines, height: 160, legend: false });
  };
  const show = () => {
    for (const gone of remove) gone();
    const wanted = filter.value.trim().toLowerCase();
    const found = data.servers.filter((s) => s.name.toLowerCase().includes(wanted)).sort((a, b) => b[kind].fullest - a[kind].fullest || b[kind].most - a[kind].most);
    remove = found.slice(0, count).map(budget);
    shown.textContent = Math.min(count, found.length) + " of " + found.length + ", the nearest to their limit first";
    more.hidden = found.length <= count;
    more.textContent = "Show " + Math.min(page, found.length - count) + " more";
  };
  for (const button of document.querySelectorAll(".switch button")) {
    button.addEventListener("click", () => {
      kind = button.dataset.class;
      for (const other of document.querySelectorAll(".switch button")) other.setAttribute("aria-pressed", String(other === button));
      show();
    });
  }
  filter.addEventListener("input", () => { count = page; show(); });
  more.addEventListener("click", () => { count += page; show(); });
  show();
})();
