"use strict";
// Finds gold answers in a text as whole words, normalised as in the scores: lower case, without
// ASCII punctuation and articles.

const PUNCTUATION = /[!-\/:-@\[-`{-~]/;
const ARTICLES = new Set(["a", "an", "the"]);

function wordsOf(text) {
  const words = [];
  let word = null;
  for (let place = 0; place < text.length; place++) {
    const letter = text[place];
    if (/\s/.test(letter)) word = null;
    else if (!PUNCTUATION.test(letter)) {
      if (!word) words.push((word = { letters: "", start: place }));
      word.letters += letter.toLowerCase();
      word.end = place + 1;
    }
  }
  return words.filter((one) => !ARTICLES.has(one.letters));
}

// Returns [start, end) pairs in order, without overlaps.
function answerSpans(text, answers) {
  const words = wordsOf(text);
  const spans = [];
  for (const answer of answers) {
    const wanted = wordsOf(answer).map((one) => one.letters);
    if (!wanted.length) continue;
    for (let first = 0; first + wanted.length <= words.length; first++)
      if (wanted.every((letters, place) => words[first + place].letters === letters))
        spans.push([words[first].start, words[first + wanted.length - 1].end]);
  }
  spans.sort((a, b) => a[0] - b[0] || b[1] - a[1]);
  let end = 0;
  return spans.filter((span) => span[0] >= end && (end = span[1]));
}

// Returns the text as nodes, with its answers in <mark>.
function marked(text, answers) {
  const nodes = [];
  let done = 0;
  for (const [start, end] of answerSpans(text, answers)) {
    const mark = element("mark", { title: "a gold answer" }, text.slice(start, end));
    nodes.push(text.slice(done, start), mark);
    done = end;
  }
  return [...nodes, text.slice(done)];
}
