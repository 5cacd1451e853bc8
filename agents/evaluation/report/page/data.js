"use strict";
// The data of the report: evaluations, one row for each episode, and transcripts in chunks.

const REPORT = JSON.parse(byId("report").textContent);
const EVALUATIONS = REPORT.evaluations;
const ROWS = REPORT.rows.map((values, number) => {
  const row = { number };
  REPORT.columns.forEach((column, place) => (row[column] = values[place]));
  return row;
});
const CHUNKS = [...document.querySelectorAll("script.transcripts")];

// Scores with different engines are not comparable, so the engine is part of the group.
for (const evaluation of EVALUATIONS)
  evaluation.group = [evaluation.set, evaluation.engine].filter(Boolean).join(", ");

function distinct(values) {
  return [...new Set(values)];
}

const AGENTS = distinct(EVALUATIONS.map((evaluation) => evaluation.agent));
const GROUPS = distinct(EVALUATIONS.map((evaluation) => evaluation.group));
const NOISES = distinct(EVALUATIONS.map((evaluation) => evaluation.noise)).sort((a, b) => a - b);

function noiseText(noise) {
  return noise === null ? "unknown" : String(Math.round(noise * 1000) / 1000);
}

// Chunks are unpacked on demand; the latest few stay in memory.
const MAX_OPEN_CHUNKS = 4;
const openChunks = new Map();

function openChunk(number) {
  const chunk = openChunks.get(number) ?? unpacked(CHUNKS[number]);
  openChunks.delete(number);
  openChunks.set(number, chunk);
  if (openChunks.size > MAX_OPEN_CHUNKS) openChunks.delete(openChunks.keys().next().value);
  return chunk;
}
