// Enhancements of the pages: plots from tables, arrow keys in heatmaps, buttons that copy commands.
"use strict";

(() => {
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const STROKES = { a: "--share-0", b: "--share-2", low: "--share-3", limit: "--bad" };

  function columns(table) {
    const read = (cell) => (cell.dataset.value === "" ? null : Number(cell.dataset.value));
    const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].map(read));
    const found = rows[0].map((_, at) => rows.map((row) => row[at]));
    if (rows.length > 1) return found;
    // With a single point, a limit is still drawn as a line.
    const isLimit = (at) => table.tHead.rows[0].cells[at].dataset.series === "limit";
    return found.map(([value], at) => (at ? (isLimit(at) ? [value, value, value] : [null, value, null]) : [value - 1, value, value + 1]));
  }

  function series(heading) {
    const stroke = color(STROKES[heading.dataset.series]);
    const low = heading.dataset.series === "low";
    return {
      label: heading.textContent,
      stroke,
      width: low ? 1 : 2,
      dash: "dash" in heading.dataset ? [5, 4] : undefined,
      points: { show: !("dash" in heading.dataset), size: low ? 4 : 6, fill: stroke },
      value: (_, value) => (value === null ? "–" : value.toPrecision(3)),
    };
  }

  function plot(figure) {
    figure.querySelector(".plot")?.remove();
    const table = figure.querySelector("table");
    if (!window.uPlot || !table || !table.tBodies[0].rows.length) return;
    const place = document.createElement("div");
    place.className = "plot";
    place.setAttribute("aria-hidden", "true");
    figure.querySelector("details").before(place);
    const axis = { stroke: color("--mute"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false } };
    const data = columns(table);
    const order = data[0].map((_, at) => at).sort((one, other) => data[0][one] - data[0][other]);
    new uPlot(
      {
        width: Math.max(place.clientWidth, 200),
        height: 190,
        cursor: { drag: { x: false, y: false } },
        legend: { live: false },
        scales: { x: { time: false } },
        axes: [
          { ...axis, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000], size: 32 },
          { ...axis, size: 46 },
        ],
        series: [{ label: figure.dataset.x }, ...[...table.tHead.rows[0].cells].slice(1).map(series)],
      },
      data.map((column) => order.map((at) => column[at])),
      place,
    );
  }

  function copyButton(line) {
    if (!navigator.clipboard || line.querySelector(".copy")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(line.querySelector("code:not(figcaption code)").textContent);
      button.textContent = "Copied";
    });
    line.append(button);
  }

  const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

  function walk(event) {
    const cell = event.target.closest?.(".cell");
    if (!cell) return;
    if (event.key === "Escape") cell.classList.add("quietly");
    const step = STEPS[event.key];
    if (!step) return;
    const at = cell.closest("td");
    const row = at.parentElement.parentElement.rows[at.parentElement.sectionRowIndex + step[0]];
    const next = row?.cells[at.cellIndex + step[1]]?.querySelector(".cell");
    if (next) {
      event.preventDefault();
      next.focus();
    }
  }

  function prepare(root) {
    root.querySelectorAll("figure[data-plot]").forEach(plot);
    root.querySelectorAll("figure.line").forEach(copyButton);
    root.querySelector("[data-focus]")?.focus();
  }

  document.addEventListener("keydown", walk);
  // The tooltip of a focused cell may be below the visible part of the page.
  document.addEventListener("focusin", (event) => {
    if (event.target.matches?.(".cell")) event.target.nextElementSibling?.scrollIntoView({ block: "nearest" });
  });
  document.addEventListener("focusout", (event) => event.target.classList?.remove("quietly"));
  document.addEventListener("DOMContentLoaded", () => prepare(document));
  document.addEventListener("htmx:afterSettle", (event) => prepare(event.target.isConnected ? event.target : document));
  const replot = () => document.querySelectorAll("figure[data-plot]").forEach(plot);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", replot);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) requestAnimationFrame(replot);
    width = innerWidth;
  });
})();
