"use strict";
// The colour and shape of each agent. The colours (Okabe and Ito) suit colour-blind readers.

const SHAPES = [
  "M0,-5 A5,5 0 1,1 0,5 A5,5 0 1,1 0,-5 Z", // circle
  "M-4.5,-4.5 H4.5 V4.5 H-4.5 Z", // square
  "M0,-5.5 L5.5,4.5 H-5.5 Z", // triangle
  "M0,-6 L6,0 L0,6 L-6,0 Z", // diamond
  "M0,5.5 L5.5,-4.5 H-5.5 Z", // triangle on its tip
  "M-2,-5.5 H2 V-2 H5.5 V2 H2 V5.5 H-2 V2 H-5.5 V-2 H-2 Z", // plus
  "M0,-6 L1.6,-1.6 L6,0 L1.6,1.6 L0,6 L-1.6,1.6 L-6,0 L-1.6,-1.6 Z", // star
];
const NUM_COLOURS = 8;

function agentClass(agent) {
  return `agent agent-${AGENTS.indexOf(agent) % NUM_COLOURS}`;
}

// With 7 shapes and 8 colours, the first 56 agents all look different.
function agentMark(agent, x, y) {
  const shape = SHAPES[AGENTS.indexOf(agent) % SHAPES.length];
  return svg("path", { class: "mark", d: shape, transform: `translate(${x},${y})` });
}

function agentBadge(agent) {
  const look = { class: agentClass(agent), viewBox: "-7 -7 14 14", "aria-hidden": "true" };
  const mark = svg("svg", look, agentMark(agent, 0, 0));
  const name = element("bdi", {}, shortened(agent));
  return element("span", { class: "badge", title: agent }, mark, name);
}

function drawLegend() {
  byId("legend").append(...AGENTS.map(agentBadge));
}
