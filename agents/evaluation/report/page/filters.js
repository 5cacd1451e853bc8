"use strict";
// Filters and order of the list of episodes.

const ORDERS = {
  question: null,
  "F1, low first": (a, b) => a.f1 - b.f1,
  "F1, high first": (a, b) => b.f1 - a.f1,
  "most searches": (a, b) => b.searches - a.searches,
  "most noise seen": (a, b) => noiseSeen(b) - noiseSeen(a),
};

function noiseSeen(row) {
  return row.documents ? row.noisy_documents / row.documents : 0;
}

// Calls `show(rows, searched)` with the rows that pass, now and after every change of a filter.
// During a text search it is called again with more rows, and with the share of transcripts searched.
function startFilters(show) {
  options("filter-agent", AGENTS);
  options("filter-set", GROUPS);
  options("filter-noise", NOISES.map(noiseText));
  options("filter-reason", distinct(ROWS.map((row) => row.reason)).sort());
  byId("filter-order").append(...Object.keys(ORDERS).map((name) => element("option", {}, name)));
  let current = 0;

  async function change() {
    const mine = ++current;
    const rows = ROWS.filter(passes()).sort(ORDERS[byId("filter-order").value] ?? undefined);
    const text = searchText();
    if (!text) return show(rows, null);
    const found = new Set(rows.filter((row) => rowContains(row, text)));
    show(rows.filter((row) => found.has(row)), 0);
    const others = rows.filter((row) => !found.has(row));
    for await (const { found: more, share } of searchTranscripts(others, text)) {
      if (mine !== current) return;
      more.forEach((row) => found.add(row));
      show(rows.filter((row) => found.has(row)), share);
    }
    if (mine === current) show(rows.filter((row) => found.has(row)), 1);
  }

  whenEdited(byId("filters"), change);
  change();
}

function options(id, values) {
  const select = byId(id);
  select.append(element("option", { value: "" }, "all"));
  select.append(...values.map((value) => element("option", { value }, shortened(value, 40))));
  select.closest("label").hidden = values.length < 2;
}

function searchText() {
  return byId("filter-text").value.trim().toLowerCase();
}

function passes() {
  const [agent, group, noise, reason] = ["agent", "set", "noise", "reason"].map(
    (name) => byId(`filter-${name}`).value,
  );
  const [min, max] = ["least", "most"].map((name) => byId(`filter-${name}`).valueAsNumber);
  const malformed = byId("filter-malformed").checked;
  const anyF1 = !(min > 0 || max < 1);
  return (row) => {
    const evaluation = EVALUATIONS[row.evaluation];
    return (
      (!agent || evaluation.agent === agent) &&
      (!group || evaluation.group === group) &&
      (!noise || noiseText(evaluation.noise) === noise) &&
      (!reason || row.reason === reason) &&
      (!malformed || row.malformed > 0) &&
      // Failed episodes have no F1.
      (anyF1 || (row.failure === null && !(row.f1 < min) && !(row.f1 > max)))
    );
  };
}
