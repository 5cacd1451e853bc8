"use strict";
// Text search: first in questions and answers, then in the transcripts, chunk by chunk.

function stringsOf(value) {
  if (typeof value === "string") return [value];
  return value && typeof value === "object" ? Object.values(value).flatMap(stringsOf) : [];
}

function contains(value, text) {
  return stringsOf(value).some((part) => part.toLowerCase().includes(text));
}

function rowContains(row, text) {
  return contains([row.question, row.answers, row.prediction, row.failure], text);
}

// Yields the rows found in each chunk, and the share of chunks searched so far.
async function* searchTranscripts(rows, text) {
  const byChunk = new Map();
  for (const row of rows)
    if (row.chunk !== null) byChunk.set(row.chunk, [...(byChunk.get(row.chunk) ?? []), row]);
  let searched = 0;
  for (const [number, inChunk] of byChunk) {
    const chunk = await unpacked(CHUNKS[number]);
    const inDocument = chunk.documents.map((one) => contains([one.title, one.text], text));
    const inTurn = (turn) =>
      contains([turn.text, turn.message], text) ||
      (turn.documents ?? []).some((document) => inDocument[document]);
    const found = inChunk.filter((row) => chunk.transcripts[row.place].turns.some(inTurn));
    yield { found, share: ++searched / byChunk.size };
  }
}
