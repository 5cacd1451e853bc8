"use strict";
// The list of episodes. Only the visible rows and a few around them are elements of the page.

const EPISODE_HEIGHT = 74; // as in page.css
const ROWS_AROUND = 6;

class EpisodeList {
  constructor(place, choose) {
    this.place = place;
    this.spacer = place.querySelector(".spacer");
    this.choose = choose;
    this.rows = [];
    this.shown = new Map(); // number in the list to element
    this.chosen = null;
    place.addEventListener("scroll", () => this.draw());
    place.addEventListener("keydown", (event) => this.step(event));
    new ResizeObserver(() => this.draw()).observe(place);
  }

  show(rows) {
    this.rows = rows;
    this.shown.forEach((node) => node.remove());
    this.shown.clear();
    this.spacer.style.height = `${rows.length * EPISODE_HEIGHT}px`;
    this.draw();
  }

  // Marks the row as chosen and scrolls to it.
  mark(row) {
    this.chosen = row;
    const number = this.rows.indexOf(row);
    const top = number * EPISODE_HEIGHT;
    const { scrollTop, clientHeight } = this.place;
    const hidden = top < scrollTop || top + EPISODE_HEIGHT > scrollTop + clientHeight;
    if (number >= 0 && hidden)
      this.place.scrollTop = top - (clientHeight - EPISODE_HEIGHT) / 2;
    this.draw();
    this.shown.forEach((node, at) => node.setAttribute("aria-selected", this.rows[at] === row));
  }

  draw() {
    const { scrollTop, clientHeight } = this.place;
    const first = Math.max(0, Math.floor(scrollTop / EPISODE_HEIGHT) - ROWS_AROUND);
    const below = Math.ceil((scrollTop + clientHeight) / EPISODE_HEIGHT) + ROWS_AROUND;
    const end = Math.min(this.rows.length, below);
    for (const [number, node] of this.shown)
      if (number < first || number >= end) {
        node.remove();
        this.shown.delete(number);
      }
    for (let number = first; number < end; number++)
      if (!this.shown.has(number)) this.shown.set(number, this.add(number));
  }

  add(number) {
    const row = this.rows[number];
    const evaluation = EVALUATIONS[row.evaluation];
    const node = element(
      "div",
      {
        class: "episode",
        role: "option",
        "aria-selected": row === this.chosen ? "true" : "false",
        "aria-setsize": this.rows.length,
        "aria-posinset": number + 1,
        click: () => this.choose(row),
      },
      element("p", { class: "question", dir: "auto" }, row.question),
      element(
        "p",
        { class: "given" },
        row.prediction === null
          ? element("bdi", { class: "none" }, row.reason.replaceAll("_", " "))
          : element("bdi", {}, row.prediction),
        row.answers.length ? " · gold " : null,
        element("bdi", {}, row.answers[0] ?? ""),
      ),
      element(
        "p",
        { class: "where" },
        agentBadge(evaluation.agent),
        GROUPS.length > 1 ? element("bdi", {}, evaluation.group) : null,
        element("span", {}, `noise ${noiseText(evaluation.noise)}`),
        element("span", {}, counted(row.searches, "search", "searches")),
        row.malformed ? element("span", { class: "failed" }, `${row.malformed} malformed`) : null,
      ),
      f1Chip(row),
    );
    node.style.top = `${number * EPISODE_HEIGHT}px`;
    this.place.append(node);
    return node;
  }

  step(event) {
    const steps = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 };
    if (!(event.key in steps) || !this.rows.length) return;
    event.preventDefault();
    const next = this.rows.indexOf(this.chosen) + steps[event.key];
    this.choose(this.rows[Math.max(0, Math.min(this.rows.length - 1, next))]);
  }
}
