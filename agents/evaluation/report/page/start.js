"use strict";
// Builds the page. #episode-12 in its address opens row 12.

function drawHead() {
  byId("title").textContent = REPORT.title;
  byId("summary").textContent = [
    counted(EVALUATIONS.length, "evaluation"),
    counted(AGENTS.length, "agent"),
    GROUPS.length === 1 ? GROUPS[0] : counted(GROUPS.length, "set"),
    counted(ROWS.length, "episode"),
  ].join(" · ");
}

function startTranscripts() {
  const list = new EpisodeList(byId("episodes"), choose);

  function choose(row) {
    list.mark(row);
    history.replaceState(null, "", `#episode-${row.number}`);
    // In one column the transcript is below the list.
    if (matchMedia("(max-width: 820px)").matches) byId("transcript").scrollIntoView();
    return showTranscript(row, searchText(), choose);
  }

  startFilters((rows, searched) => {
    list.show(rows);
    const of = `${rows.length.toLocaleString("en")} of ${counted(ROWS.length, "episode")}`;
    const searching = searched !== null && searched < 1;
    const progress = searching ? ` · searching, ${Math.round(100 * searched)} %` : "";
    byId("count").textContent = `${of}${progress}`;
    if (rows.length && !rows.includes(list.chosen)) {
      list.mark(rows[0]);
      showTranscript(rows[0], searchText(), choose);
    }
  });
  const linked = ROWS[/^#episode-(\d+)$/.exec(location.hash)?.[1]];
  if (linked) {
    choose(linked);
    byId("transcripts").scrollIntoView();
  }
}

drawHead();
byId("tables").hidden = !REPORT.tables.length;
drawTextTables(byId("tables"), REPORT.tables);
drawFigures();
drawLegend();
drawPlots();
startTranscripts();
document.body.dataset.ready = "true";
