"use strict";
// The chosen episode: question, scores, and every turn with its documents.

let latestRequest = 0; // an episode that opens slowly must not replace one chosen later

async function showTranscript(row, text, choose) {
  const place = byId("transcript");
  const request = ++latestRequest;
  let body;
  try {
    body =
      row.chunk === null
        ? [element("p", { class: "notice" }, "This episode has no transcript.")]
        : transcriptBody(row, await openChunk(row.chunk));
  } catch (error) {
    const message = `Cannot open this transcript (${error}). Use a browser from 2023 or later.`;
    body = [element("p", { class: "notice" }, message)];
  }
  if (request !== latestRequest) return;
  place.replaceChildren(...episodeHead(row, choose), ...body);
  place.scrollTop = 0;
  highlight(place, text);
}

function episodeHead(row, choose) {
  const evaluation = EVALUATIONS[row.evaluation];
  const answer = { dir: "auto", class: row.prediction === null ? "none" : null };
  return [
    element(
      "header",
      {},
      element(
        "p",
        { class: "where" },
        agentBadge(evaluation.agent),
        fact("set", evaluation.group),
        fact("noise", noiseText(evaluation.noise)),
        fact("question", row.index),
      ),
      element("h3", { dir: "auto" }, row.question),
      element(
        "dl",
        { class: "answers" },
        element("dt", {}, "answer"),
        element("dd", answer, row.prediction ?? `none (${row.reason})`),
        element("dt", {}, "gold"),
        element("dd", { dir: "auto" }, row.answers.join(" · ") || "–"),
      ),
      row.failure === null ? scoreChips(row) : failureNotice(row),
      siblings(row, choose),
    ),
  ];
}

function scoreChips(row) {
  const chip = (name, value, digits, look = scoreClass(value)) =>
    element("span", { class: `score ${look}` }, `${name} `, element("b", {}, fixed(value, digits)));
  return element(
    "p",
    { class: "scores" },
    chip("F1", row.f1, 3),
    chip("EM", row.exact_match, 0),
    chip("cover", row.cover_match, 0),
    chip("reward", row.reward, 3, ""),
  );
}

function failureNotice(row) {
  const words = [element("b", {}, "Failed: "), element("bdi", {}, row.failure)];
  return element("p", { class: "notice" }, words);
}

// Episodes of other evaluations with the same question.
function siblings(row, choose) {
  const set = EVALUATIONS[row.evaluation].set;
  const same = ROWS.filter(
    (other) =>
      other.index === row.index &&
      other.question === row.question &&
      EVALUATIONS[other.evaluation].set === set,
  );
  if (same.length < 2) return null;
  const buttons = same.map((other) => {
    const { agent, noise } = EVALUATIONS[other.evaluation];
    return element(
      "button",
      {
        type: "button",
        "aria-current": other === row ? "true" : null,
        click: () => choose(other),
      },
      agentBadge(agent),
      ` noise ${noiseText(noise)} `,
      f1Chip(other),
    );
  });
  const others = counted(same.length - 1, "other evaluation");
  return element(
    "details",
    {
      class: "siblings",
      open: siblingsOpen,
      toggle: (event) => (siblingsOpen = event.target.open),
    },
    element("summary", {}, `The same question in ${others}`),
    element("div", {}, buttons),
  );
}
let siblingsOpen = false;

function fact(name, value) {
  return element("span", { class: "fact" }, `${name} `, element("bdi", {}, value));
}

function scoreClass(value) {
  return value >= 1 ? "full" : value > 0 ? "part" : "zero";
}

function f1Chip(row) {
  if (row.failure !== null)
    return element("span", { class: "score failure", title: row.failure }, "failed");
  const look = { class: `score ${scoreClass(row.f1)}`, title: `F1 ${fixed(row.f1)}` };
  return element("span", look, fixed(row.f1, 2));
}

function transcriptBody(row, chunk) {
  const transcript = chunk.transcripts[row.place];
  const { reward_terms: terms, verdict } = transcript;
  const about = [
    ["id", transcript.id],
    ["seed", transcript.seed],
    ["turns allowed", transcript.max_turns],
    ...Object.entries(transcript.metadata).map(([name, value]) => [name, shownValue(value)]),
  ];
  const facts = about.flatMap(([name, value]) => [
    element("dt", {}, element("bdi", {}, name)),
    element("dd", { dir: "auto" }, String(value)),
  ]);
  const turns = transcript.turns.map((turn) => turnItem(turn, chunk.documents, transcript.marked));
  const parts = [
    element("p", { class: "scores reward-terms" }, terms.map(rewardTerm)),
    element(
      "details",
      { class: "about-episode" },
      element("summary", {}, "About this episode"),
      element("dl", {}, facts),
    ),
    element(
      "details",
      { class: "prompt" },
      element("summary", {}, "Prompt"),
      element("pre", { dir: "auto" }, transcript.prompt),
    ),
    element("ol", { class: "turns" }, turns),
  ];
  return verdict ? [...parts, verdictItem(verdict)] : parts;
}

function rewardTerm([name, value]) {
  const term = element("bdi", {}, name);
  return element("span", { class: "score" }, term, " ", element("b", {}, fixed(value)));
}

function verdictItem({ value, text }) {
  return element(
    "details",
    { class: "prompt verdict" },
    element("summary", {}, `Verdict of the judge: ${fixed(value, 2)}`),
    element("pre", { dir: "auto" }, text),
  );
}

function shownValue(value) {
  return typeof value === "object" ? JSON.stringify(value) : value;
}

const KINDS = {
  search: (turn) =>
    !turn.sent
      ? "search, not sent: no turns left"
      : turn.left_out
        ? `search, noisy documents left out: ${turn.left_out}`
        : "search",
  open: (turn) => (turn.sent ? "open" : "open, not sent: no turns left"),
  answer: () => "answer",
  malformed: (turn) => `malformed: ${turn.malformed.replaceAll("_", " ")}`,
};

function turnItem(turn, documents, answers) {
  const page = (turn.documents ?? []).map((number) => documentItem(documents[number], answers));
  return element(
    "li",
    { class: `turn ${turn.kind}` },
    element("p", { class: "kind" }, KINDS[turn.kind](turn)),
    element("div", { class: "text", dir: "auto" }, actionText(turn.text, answers)),
    page.length ? element("ol", { class: "page" }, page) : null,
    turn.message
      ? element("div", { class: "message", dir: "auto" }, turn.message.trim())
      : null,
  );
}

// The text of the agent, with its tags in grey and a style for the content of each tag.
function actionText(text, answers) {
  const nodes = [];
  let inside = "";
  for (const part of text.trim().split(/(<\/?(?:think|search|open|answer)>)/)) {
    const tag = /^<(\/?)(think|search|open|answer)>$/.exec(part);
    if (tag) {
      inside = tag[1] ? "" : tag[2];
      nodes.push(element("span", { class: "tag" }, part));
    } else if (part) {
      const look = { class: inside ? `in-${inside}` : null };
      nodes.push(element("span", look, marked(part, answers)));
    }
  }
  return nodes.length ? nodes : [element("span", { class: "tag" }, "(empty)")];
}

// Useful and noisy documents differ in colour, border and label.
function documentItem(one, answers) {
  const kind = one.useful === true ? "useful" : one.useful === false ? "noisy" : "unspecified";
  const note = (look, ...words) => element("span", { class: look }, words);
  const quoted = (words) => element("bdi", {}, words);
  const notes = [
    note(`quality ${kind}`, QUALITIES[kind]),
    one.noise_kind && one.noise_kind !== "irrelevant" ? note("note", one.noise_kind) : null,
    one.contains_answer ? note("note answer", "contains an answer") : null,
    ...(one.checks ?? []).map((check) => note("note failed", "fails ", quoted(check))),
    one.truncated ? note("note", "cut") : null,
    one.engine ? note("note", quoted(one.engine)) : null,
    ...(one.metadata ?? []).map(([name, value]) =>
      note("note", quoted(`${name} ${shownValue(value)}`)),
    ),
  ];
  const title = { class: "document-title", dir: "auto" };
  return element(
    "li",
    { class: `document ${kind}` },
    element("p", { class: "notes" }, notes),
    one.title ? element("p", title, marked(one.title, answers)) : null,
    element("p", { class: "document-text", dir: "auto" }, marked(one.text, answers)),
  );
}
const QUALITIES = { useful: "✓ useful", noisy: "≈ noisy", unspecified: "not controlled" };

// Highlights the text of the search, if the browser can do so without changing the page.
function highlight(place, searched) {
  if (!globalThis.Highlight) return;
  const ranges = [];
  const walker = document.createTreeWalker(place, NodeFilter.SHOW_TEXT);
  while (searched && walker.nextNode()) {
    const text = walker.currentNode.data.toLowerCase();
    if (text.length !== walker.currentNode.data.length) continue; // positions would differ
    let at = -searched.length;
    while ((at = text.indexOf(searched, at + searched.length)) >= 0) {
      const range = new Range();
      range.setStart(walker.currentNode, at);
      range.setEnd(walker.currentNode, at + searched.length);
      ranges.push(range);
    }
  }
  CSS.highlights.set("searched", new Highlight(...ranges));
}
