"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const make = (tag, values, ...children) => {
    const element = Object.assign(document.createElement(tag), values);
    element.append(...children);
    return element;
  };

  // a number as the page writes it; null for text and dashes
  const numeric = (text) => {
    const value = parseFloat(text.replace("\u2212", "-").replace(/,/g, ""));
    return Number.isNaN(value) ? null : value;
  };
  const compare = (a, b) => {
    const [x, y] = [numeric(a), numeric(b)];
    return x !== null && y !== null ? x - y : a.localeCompare(b);
  };

  const sortBy = (table, column, descending) => {
    const body = table.tBodies[0];
    const key = (row) => row.cells[column].textContent.trim();
    const empty = (text) => text === "" || text === "\u2013";
    const rows = [...body.rows].map((row) => [key(row), row]);
    rows.sort(([a], [b]) => empty(a) - empty(b) || (descending ? compare(b, a) : compare(a, b)));
    body.append(...rows.map(([, row]) => row));
    all("thead th", table).forEach((head, place) => {
      if (place === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  };

  const makeSortable = (table) => {
    all("thead th", table).forEach((head, column) => {
      const button = make("button", { type: "button" }, ...head.childNodes);
      // the best first: the highest score, else the lowest value
      const turned = { ascending: true, descending: false };
      button.addEventListener("click", () => {
        sortBy(table, column, turned[head.getAttribute("aria-sort")] ?? head.classList.contains("score"));
      });
      head.append(button);
    });
  };

  const makeFilter = (table) => {
    const rows = [...table.tBodies[0].rows];
    const shown = make("output", {});
    const input = make("input", { type: "search", placeholder: "e.g. failed, 0.05, a trial's hash" });
    const filter = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) {
        const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
      shown.value = `${rows.filter((row) => !row.hidden).length} of ${rows.length} trials`;
    };
    input.addEventListener("input", filter);
    const label = make("label", {}, "Filter trials ", input);
    table.closest(".scroll").before(make("p", { className: "filter" }, label, " ", shown, "; click a heading to sort"));
    filter();
  };

  const copy = async (text, within) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      getSelection().selectAllChildren(within);
      document.execCommand("copy");
    }
  };
  const makeCopyable = (code) => {
    const button = make("button", { type: "button", className: "copy" }, "Copy");
    button.addEventListener("click", async () => {
      await copy(code.textContent, code);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    code.parentElement.after(button);
  };

  // a figure's panels as one SVG in the colours of paper
  const wholeFigure = (figure) => {
    const [width, height] = figure.dataset.size.split(" ");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("width", `${width}pt`);
    svg.setAttribute("height", `${height}pt`);
    svg.setAttribute("style", "color: #1f2a37; --missing: #dde1e6; background: #fff");
    for (const panel of all("svg", figure)) svg.append(...panel.cloneNode(true).childNodes);
    return new XMLSerializer().serializeToString(svg);
  };
  const save = (name, address) => make("a", { href: address, download: name }).click();
  const makeSavable = (figure) => {
    const button = make("button", { type: "button", className: "save" }, "Save this figure");
    button.addEventListener("click", () => {
      const address = URL.createObjectURL(new Blob([wholeFigure(figure)], { type: "image/svg+xml" }));
      save(`${figure.dataset.name}.svg`, address);
      setTimeout(() => URL.revokeObjectURL(address), 1000);
    });
    figure.querySelector("figcaption").append(" ", button);
  };

  const openTarget = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let fold = target && target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    if (target) (target.closest("details") || target).scrollIntoView();
  };

  // a sweep under way: the page loads itself anew, with sort, filter, place and open folds as they were
  const RENEW = 20000;
  const STALE = 30;
  const place = `mixem ${location.pathname}`;
  const remember = () => {
    const head = document.querySelector("th[aria-sort]");
    const sort = head && [head.cellIndex, head.getAttribute("aria-sort") === "descending"];
    const filter = document.querySelector(".filter input")?.value ?? "";
    const typing = document.activeElement?.type === "search";
    const across = document.querySelector("table.trials")?.closest(".scroll").scrollLeft;
    const folds = all("details[open] > div[id]").map((inner) => inner.id);
    sessionStorage.setItem(place, JSON.stringify({ sort, filter, typing, across, folds }));
  };
  const recall = () => {
    const { sort, filter, typing, across, folds } = JSON.parse(sessionStorage.getItem(place) ?? "{}");
    sessionStorage.removeItem(place);
    const table = document.querySelector("table.trials");
    const input = document.querySelector(".filter input");
    if (sort && table) sortBy(table, ...sort);
    if (filter && input) { input.value = filter; input.dispatchEvent(new Event("input")); }
    if (typing && input) input.focus({ preventScroll: true });
    if (across && table) table.closest(".scroll").scrollLeft = across;
    for (const id of folds ?? []) document.getElementById(id)?.closest("details")?.setAttribute("open", "");
  };
  const follow = (stamp) => {
    const minutes = Math.floor((Date.now() - Date.parse(stamp.dataset.time)) / 60000);
    if (minutes >= STALE) stamp.append(` Nothing has moved for ${minutes} min: the sweep may have been killed.`);
    setTimeout(() => { remember(); location.reload(); }, RENEW);
  };

  all("table.trials").forEach((table) => { makeSortable(table); makeFilter(table); });
  all("pre code").forEach(makeCopyable);
  all("figure[data-size]").forEach(makeSavable);
  addEventListener("hashchange", openTarget);
  openTarget();
  recall();
  all("#as-of[data-moving=True]").forEach(follow);
})();
