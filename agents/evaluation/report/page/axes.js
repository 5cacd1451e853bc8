"use strict";
// The parts of plots. Lengths are in CSS pixels: a plot is drawn for its width.

function scale(from, to) {
  return (share) => from + share * (to - from);
}

function label(text, x, y, attributes = {}) {
  return svg("text", { x, y, ...attributes }, text);
}

function line(x1, y1, x2, y2, name) {
  return svg("line", { x1, y1, x2, y2, class: name });
}

// Vertical lines with numbers below.
function columnsOfGrid(x, top, bottom) {
  return [0, 0.5, 1].flatMap((tick) => [
    line(x(tick), top, x(tick), bottom, "grid"),
    label(String(tick), x(tick), bottom + 14, { class: "tick", "text-anchor": "middle" }),
  ]);
}

function rowsOfGrid(y, left, right, ticks) {
  return ticks.flatMap((tick) => [
    line(left, y(tick), right, y(tick), "grid"),
    label(String(Math.round(tick * 1000) / 1000), left - 6, y(tick) + 4, {
      class: "tick",
      "text-anchor": "end",
    }),
  ]);
}

// Adds a tooltip to a mark.
function withTooltip(text, attributes, ...nodes) {
  return svg("g", attributes, svg("title", {}, text), ...nodes);
}

// Draws now and after every change of the width; `draw(width)` returns [height, nodes].
function plot(id, draw) {
  const place = byId(id).querySelector(".drawing");
  const title = byId(id).querySelector("h3").textContent;
  let drawn = 0;
  const redraw = () => {
    drawn = place.clientWidth;
    const [height, nodes] = draw(drawn);
    const look = { class: "plot", width: drawn, height, role: "img", "aria-label": title };
    place.replaceChildren(svg("svg", look, nodes));
  };
  new ResizeObserver(() => place.clientWidth !== drawn && redraw()).observe(place);
  redraw();
  return redraw;
}
