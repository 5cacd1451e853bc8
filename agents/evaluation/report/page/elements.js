"use strict";
// Creates elements. Text is inserted as text nodes, never as markup.

function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

// A function listens to the event with the name of the attribute; null and false are omitted.
function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false)
      node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

function byId(id) {
  return document.getElementById(id);
}

// Calls `change` shortly after the last edit of a form, which is never sent.
function whenEdited(form, change) {
  let typing;
  const soon = () => {
    clearTimeout(typing);
    typing = setTimeout(change, 150);
  };
  form.addEventListener("input", soon);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", soon);
}

function fixed(value, digits = 3) {
  return typeof value === "number" ? value.toFixed(digits) : "–";
}

function counted(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

// An interval is [mean, low, high], or null without data.
function intervalText(interval) {
  if (!interval) return "–";
  return `${fixed(interval[0])} [${fixed(interval[1])}, ${fixed(interval[2])}]`;
}

// Long names are cut at the start, since folders and checkpoints differ at the end.
function shortened(name, most = 24) {
  return name.length <= most ? name : `…${name.slice(1 - most)}`;
}

// Appends tables of texts, as [title, headers, rows]; those without rows are omitted.
function drawTextTables(parent, tables) {
  for (const [title, headers, rows] of tables) {
    if (!rows.length) continue;
    const isNumber = (place) => rows.every((row) => /^[-+\d.,[\] ]+$/.test(row[place]));
    const kind = (place) => ({ class: isNumber(place) ? "number" : null });
    const heading = headers.map((text, place) =>
      element("th", { scope: "col", ...kind(place) }, text),
    );
    const line = (row) =>
      element("tr", {}, row.map((text, place) => element("td", kind(place), text)));
    parent.append(
      element("h3", {}, title),
      element(
        "div",
        { class: "wide" },
        element("table", {}, element("thead", {}, element("tr", {}, heading)),
          element("tbody", {}, rows.map(line))),
      ),
    );
  }
}
