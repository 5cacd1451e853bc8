"use strict";
// The four plots. The first two show one noise level, chosen by their buttons.

const SCORES = [
  ["F1", "f1"],
  ["EM", "exact_match"],
  ["Cover match", "cover_match"],
];
const ROW_HEIGHT = 28;

function drawPlots() {
  let noise = mostCommonNoise();
  const redraws = [
    plot("scores-plot", (width) => scoresPlot(width, noise)),
    plot("searches-plot", (width) => searchesPlot(width, noise)),
  ];
  for (const [place, id] of ["scores-plot", "searches-plot"].entries())
    noiseButtons(id, noise, (chosen) => {
      noise = chosen;
      redraws.forEach((redraw) => redraw());
      document
        .querySelectorAll(`.noise-levels input[value="${NOISES.indexOf(noise)}"]`)
        .forEach((input) => (input.checked = true));
    });
  const swept = GROUPS.filter((group) => noisesOf(group).length > 1);
  if (swept.length) plot("noise-plot", (width) => noisePlot(width, swept));
  else byId("noise-plot").hidden = true;
  if (EVALUATIONS.some((one) => one.noise !== null && one.noisy_share))
    plot("calibration-plot", calibrationPlot);
  else byId("calibration-plot").hidden = true;
}

function mostCommonNoise() {
  const times = (noise) => EVALUATIONS.filter((one) => one.noise === noise).length;
  return NOISES.reduce((best, noise) => (times(noise) > times(best) ? noise : best), NOISES[0]);
}

function noisesOf(group) {
  const known = EVALUATIONS.filter((one) => one.group === group && one.noise !== null);
  return distinct(known.map((one) => one.noise));
}

function noiseButtons(id, chosen, choose) {
  const fieldset = byId(id).querySelector(".noise-levels");
  fieldset.hidden = NOISES.length < 2;
  const button = (noise, number) =>
    element("input", {
      type: "radio",
      name: id,
      value: number,
      checked: noise === chosen,
      change: () => choose(noise),
    });
  fieldset.append(
    ...NOISES.map((noise, number) =>
      element("label", {}, button(noise, number), element("span", {}, noiseText(noise))),
    ),
  );
}

// Rows of agents, with a heading for each set; `row(evaluation, left, y)` returns nodes.
function agentRows(width, noise, row) {
  const narrow = width < 480; // names are above their rows
  const left = narrow ? 0 : Math.min(170, width * 0.26);
  const most = Math.floor(((narrow ? width : left) - 16) / 6.8);
  const nodes = [];
  let y = 18;
  for (const group of GROUPS) {
    const evaluations = EVALUATIONS.filter((one) => one.group === group && one.noise === noise);
    if (!evaluations.length) continue;
    if (GROUPS.length > 1) {
      nodes.push(label(shortened(group, 48), 0, y + 12, { class: "group" }));
      y += 24;
    }
    for (const one of evaluations) {
      if (narrow) y += 16;
      const middle = y + ROW_HEIGHT / 2;
      nodes.push(label(shortened(one.agent, most), 0, narrow ? y : middle + 4, { class: "name" }));
      nodes.push(...row(one, left, middle));
      y += ROW_HEIGHT;
    }
    y += GROUPS.length > 1 ? 8 : 0;
  }
  return { left, bottom: y, nodes };
}

function scoresPlot(width, noise) {
  const valueWidth = 40;
  const gap = 14;
  const columns = (left) =>
    SCORES.map((_, place) => {
      const each = (width - left) / SCORES.length;
      return scale(left + place * each + 8, left + (place + 1) * each - valueWidth - gap);
    });
  const { left, bottom, nodes } = agentRows(width, noise, (one, start, y) =>
    columns(start).flatMap((x, place) => {
      const [name, metric] = SCORES[place];
      const interval = one[metric];
      if (!interval) return [label("–", x(0), y + 4, { class: "value" })];
      const [mean, low, high] = interval;
      return [
        withTooltip(
          `${one.agent}: ${name} ${intervalText(interval)}`,
          { class: agentClass(one.agent) },
          line(x(low), y, x(high), y, "whisker"),
          agentMark(one.agent, x(mean), y),
        ),
        label(fixed(mean), x(1) + 10, y + 4, { class: "value" }),
      ];
    }),
  );
  const grid = columns(left).flatMap((x, place) => [
    label(SCORES[place][0], x(0), 10, { class: "heading" }),
    ...columnsOfGrid(x, 18, bottom),
  ]);
  return [bottom + 22, [...grid, ...nodes]];
}

const ANCHORS = { 0: "start", 0.5: "middle", 1: "end" }; // so that no label is cut at the edge

function searchesPlot(width, noise) {
  const shown = EVALUATIONS.filter((one) => one.noise === noise);
  const most = Math.max(1, ...shown.map((one) => one.searches_counts.length - 1));
  const meanWidth = 70;
  const { left, bottom, nodes } = agentRows(width, noise, (one, start, y) => {
    const x = scale(start, width - meanWidth);
    const total = one.searches_counts.reduce((sum, count) => sum + count, 0);
    const mean = one.searches ? `mean ${fixed(one.searches[0], 2)}` : "–";
    let before = 0;
    const bars = one.searches_counts.flatMap((count, searches) => {
      if (!count) return [];
      const from = x(before / total);
      before += count;
      const to = x(before / total);
      const percent = ((100 * count) / total).toFixed(1);
      const bar = { x: from, y: y - 9, width: Math.max(0.5, to - from - 1), height: 18, rx: 2 };
      const inside = { class: "count", "text-anchor": "middle" };
      return withTooltip(
        `${one.agent}: ${counted(searches, "search", "searches")} in ${percent} % of ` +
          counted(total, "episode"),
        { class: `shade-${shadeOf(searches, most)}` },
        svg("rect", { class: "bar", ...bar }),
        to - from > 16 ? label(searches, (from + to) / 2, y + 4, inside) : null,
      );
    });
    return [...bars, label(mean, width, y + 4, { class: "value", "text-anchor": "end" })];
  });
  const x = scale(left, width - meanWidth);
  const ticks = [0, 0.5, 1].map((tick) =>
    label(`${tick * 100} %`, x(tick), bottom + 14, { class: "tick", "text-anchor": ANCHORS[tick] }),
  );
  const heading = label("number of searches (in the bars)", left, 10, { class: "heading" });
  return [bottom + 22, [heading, ...nodes, ...ticks]];
}

// Returns one of seven shades from light to dark.
function shadeOf(searches, most) {
  return most <= 6 ? searches : Math.round((6 * searches) / most);
}

// Panels side by side if they fit; `draw(thing, left, top, width, height)` returns nodes.
function panels(width, things, height, draw) {
  const across = Math.max(1, Math.min(things.length, Math.floor(width / 290)));
  const each = width / across;
  const nodes = things.flatMap((thing, place) => {
    const [column, row] = [place % across, Math.floor(place / across)];
    return draw(thing, column * each, row * height, each - (across > 1 ? 16 : 0), height);
  });
  return [Math.ceil(things.length / across) * height, nodes];
}

// `highest` is the value at the top; `marks(x, y)` returns nodes for x from 0 to 1.
function square(title, left, top, width, height, across, highest, marks) {
  const margin = 14; // space for marks at the ends
  const x = scale(left + 38 + margin, left + width - margin);
  const share = scale(top + height - 44, top + 28);
  const y = (value) => share(value / highest);
  const ticks = [0, 0.25, 0.5, 0.75, 1];
  const below = { class: "tick", "text-anchor": "middle" };
  return [
    label(title, left, top + 12, { class: "group" }),
    ...rowsOfGrid(y, x(0) - margin, x(1) + margin, ticks.map((tick) => tick * highest)),
    ...ticks.map((tick) => label(String(tick), x(tick), y(0) + 16, below)),
    label(across, x(0.5), y(0) + 34, below),
    ...marks(x, y),
  ];
}

function noisePlot(width, groups) {
  const largest = Math.max(...EVALUATIONS.map((one) => (one.f1 ? one.f1[2] : 0)));
  const highest = [0.1, 0.2, 0.4, 1].find((value) => largest <= value);
  return panels(width, groups, 320, (group, ...place) =>
    square(GROUPS.length > 1 ? shortened(group, 36) : "F1", ...place, "noise", highest, (x, y) =>
      AGENTS.flatMap((agent) => {
        const points = EVALUATIONS.filter(
          (one) => one.group === group && one.agent === agent && one.noise !== null && one.f1,
        ).sort((a, b) => a.noise - b.noise);
        return points.length ? [noiseLine(agent, points, x, y)] : [];
      }),
    ),
  );
}

function noiseLine(agent, points, x, y) {
  const along = (end) => points.map((one) => `${x(one.noise)},${y(one.f1[end])}`);
  const band = [...along(2), ...along(1).reverse()].join(" ");
  const marks = points.map((one) =>
    withTooltip(
      `${agent} at noise ${noiseText(one.noise)}: F1 ${intervalText(one.f1)}`,
      {},
      agentMark(agent, x(one.noise), y(one.f1[0])),
    ),
  );
  return svg(
    "g",
    { class: agentClass(agent) },
    svg("polygon", { class: "band", points: band }),
    svg("polyline", { class: "curve", points: along(0).join(" ") }),
    ...marks,
  );
}

function calibrationPlot(width) {
  const shares = [
    ["noisy documents", "noisy_share"],
    ["pages without a gold answer", "unanswering_share"],
  ];
  return panels(width, shares, 320, ([title, metric], ...place) =>
    square(title, ...place, "requested noise", 1, (x, y) => [
      line(x(0), y(0), x(1), y(1), "equal"),
      ...EVALUATIONS.filter((one) => one.noise !== null && one[metric]).map((one) => {
        const [mean, low, high] = one[metric];
        const across = x(one.noise) + shiftOf(one.agent);
        return withTooltip(
          `${one.agent} on ${one.group}, noise ${noiseText(one.noise)}: ${title} ` +
            intervalText(one[metric]),
          { class: agentClass(one.agent) },
          line(across, y(low), across, y(high), "whisker"),
          agentMark(one.agent, across, y(mean)),
        );
      }),
    ]),
  );
}

// Shifts agents with the same noise level sideways.
function shiftOf(agent) {
  return (AGENTS.indexOf(agent) - (AGENTS.length - 1) / 2) * Math.min(9, 36 / AGENTS.length);
}
