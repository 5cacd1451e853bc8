"use strict";
// Text search: at once in questions and answers, then chunk by chunk in all that was written.

function stringsOf(value) {
  if (typeof value === "string") return [value];
  return value && typeof value === "object" ? Object.values(value).flatMap(stringsOf) : [];
}

function holds(value, sought) {
  return stringsOf(value).some((text) => text.toLowerCase().includes(sought));
}

function holdsInRow(row, sought) {
  return holds([row.question, row.answers, row.prediction, row.failure], sought);
}

// Yields after each chunk the rows found in it, and the share of chunks searched so far.
async function* searchTranscripts(rows, sought) {
  const byChunk = new Map();
  for (const row of rows)
    if (row.chunk !== null) byChunk.set(row.chunk, [...(byChunk.get(row.chunk) ?? []), row]);
  let searched = 0;
  for (const [number, inChunk] of byChunk) {
    const chunk = await unpacked(CHUNKS[number]);
    const inDocument = chunk.documents.map((one) => holds([one.title, one.text], sought));
    const inTurn = (turn) =>
      holds([turn.text, turn.message], sought) ||
      (turn.documents ?? []).some((document) => inDocument[document]);
    const found = inChunk.filter((row) => chunk.transcripts[row.place].turns.some(inTurn));
    yield { found, share: ++searched / byChunk.size };
  }
}
