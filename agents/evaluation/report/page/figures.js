"use strict";
// The table of figures; a click on a heading sorts by that column.

const FIGURES = [
  { name: "Agent", value: (one) => one.agent, show: (one) => agentBadge(one.agent) },
  distinct(EVALUATIONS.map((one) => one.set)).length > 1 && {
    name: "Set",
    value: (one) => one.set,
    show: (one) => element("bdi", {}, one.set),
  },
  distinct(EVALUATIONS.map((one) => one.engine)).length > 1 && {
    name: "Engine",
    value: (one) => one.engine,
    show: (one) => element("bdi", {}, one.engine || "default"),
  },
  { name: "Noise", value: (one) => one.noise, show: (one) => noiseText(one.noise), number: true },
  {
    name: "Episodes",
    value: (one) => one.episodes,
    show: (one) => one.episodes.toLocaleString("en"),
    number: true,
  },
  intervalFigure("F1", "f1"),
  intervalFigure("EM", "exact_match"),
  intervalFigure("Cover match", "cover_match"),
  intervalFigure("Searches", "searches", 2),
  intervalFigure("Malformed", "malformed", 2),
  intervalFigure("Failures", "failure_rate"),
].filter(Boolean);

function intervalFigure(name, metric, digits = 3) {
  return {
    name,
    number: true,
    value: (one) => (one[metric] ? one[metric][0] : -1),
    show: (one) => {
      if (!one[metric]) return "–";
      const [mean, low, high] = one[metric];
      const ends = element("span", { class: "ends" }, `${fixed(low, digits)}–${fixed(high, digits)}`);
      return element("span", { class: "interval" }, element("b", {}, fixed(mean, digits)), ends);
    },
  };
}

function drawFigures() {
  const body = element("tbody");
  const headings = FIGURES.map((figure) => {
    const button = element("button", { type: "button", click: () => sort(figure) }, figure.name);
    return element("th", { scope: "col", class: figure.number ? "number" : null }, button);
  });
  byId("figures-table").append(element("thead", {}, element("tr", {}, headings)), body);
  let sorted = { figure: null, descending: false };

  function sort(figure) {
    const descending = sorted.figure === figure ? !sorted.descending : Boolean(figure.number);
    sorted = { figure, descending };
    headings.forEach((heading, place) => {
      if (FIGURES[place] === figure)
        heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else heading.removeAttribute("aria-sort");
    });
    const sign = descending ? -1 : 1;
    show([...EVALUATIONS].sort((a, b) => sign * compared(figure.value(a), figure.value(b))));
  }

  function show(evaluations) {
    const cell = (one, figure) =>
      element("td", { class: figure.number ? "number" : null }, figure.show(one));
    const line = (one) =>
      element(
        "tr",
        { title: `${one.folder}\n${JSON.stringify(one.setting)}` },
        FIGURES.map((figure) => cell(one, figure)),
      );
    body.replaceChildren(...evaluations.map(line));
  }

  show(EVALUATIONS);
}

function compared(a, b) {
  if (typeof a === "string") return a.localeCompare(b);
  return (a ?? -1) - (b ?? -1);
}
