"use strict";
// The tables of an audit, and the list of its questions with filters.

const AUDIT = JSON.parse(byId("audit").textContent);
const ROWS_AT_ONCE = 100;
const ANSWERABLE = { yes: true, no: false, unknown: null };
// Filters by name; the kinds of issues follow.
const REPETITIONS = {
  repeated: (row) => row.repeats !== "",
  "conflicting answers": (row) => row.conflicting,
  "in another set": (row) => row.also_in.length > 0,
};

function drawTables() {
  byId("summary").textContent = AUDIT.summary;
  drawTextTables(byId("tables"), AUDIT.tables);
  for (const [name, about] of Object.entries(AUDIT.issues))
    byId("kinds").append(element("dt", {}, name), element("dd", {}, about));
}

function options(id, values) {
  byId(id).append(
    element("option", { value: "" }, "all"),
    ...values.map((value) => element("option", { value }, shortened(value, 40))),
  );
}

function passes() {
  const [text, set, answerable, issue] = ["text", "set", "answerable", "issue"].map(
    (name) => byId(`filter-${name}`).value,
  );
  const words = text.trim().toLowerCase();
  return (row) =>
    (!set || row.set === set) &&
    (!answerable || row.answerable === ANSWERABLE[answerable]) &&
    (!issue || (REPETITIONS[issue] ? REPETITIONS[issue](row) : row.issues.includes(issue))) &&
    (!words ||
      [row.question, row.id, ...row.answers].some((one) => one.toLowerCase().includes(words)));
}

const COLUMNS = {
  set: (row) => row.set,
  question: (row) => row.question,
  "gold answers": (row) => row.answers.join(" · "),
  answerable: (row) =>
    Object.keys(ANSWERABLE).find((name) => ANSWERABLE[name] === row.answerable),
  rank: (row) => row.rank ?? "–",
  "rank by title": (row) => row.title_rank ?? "–",
  "titles found": (row) => (row.titles ? `${row.titles_found} of ${row.titles}` : "–"),
  chance: (row) => fixed(row.chance),
  issues: (row) =>
    [
      ...row.issues,
      row.repeats && `repeats ${row.repeats}`,
      row.conflicting && "conflicting answers",
      row.also_in.length > 0 && `also in ${row.also_in.join(", ")}`,
    ]
      .filter(Boolean)
      .join("; "),
};

function startList(rows) {
  const body = element("tbody");
  const columns = Object.entries(COLUMNS).filter(
    ([name]) => !name.includes("title") || rows.some((row) => row.titles),
  );
  const heading = columns.map(([name]) => element("th", { scope: "col" }, name));
  byId("questions-table").append(element("thead", {}, element("tr", {}, heading)), body);
  let found = [];

  function more() {
    const start = body.childElementCount;
    const line = (row) =>
      element(
        "tr",
        { title: row.id },
        columns.map(([name, text]) =>
          element("td", { dir: "auto", class: /question|answers|issues/.test(name) && "text-cell" },
            String(text(row))),
        ),
      );
    body.append(...found.slice(start, start + ROWS_AT_ONCE).map(line));
    byId("more").hidden = body.childElementCount >= found.length;
  }

  function change() {
    found = rows.filter(passes());
    body.replaceChildren();
    more();
    byId("count").textContent =
      `${found.length.toLocaleString("en")} of ${counted(rows.length, "question")}`;
  }

  whenEdited(byId("filters"), change);
  byId("more").addEventListener("click", more);
  change();
}

async function start() {
  drawTables();
  options("filter-set", AUDIT.sets);
  options("filter-answerable", Object.keys(ANSWERABLE));
  options("filter-issue", [...Object.keys(AUDIT.issues), ...Object.keys(REPETITIONS)]);
  const rows = await unpacked(byId("questions"));
  startList(
    rows.map((values) =>
      Object.fromEntries(AUDIT.columns.map((column, place) => [column, values[place]])),
    ),
  );
  document.body.dataset.ready = "true";
}

start();
