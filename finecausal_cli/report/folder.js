"use strict";
(() => {
  const filters = document.querySelector(".filters");
  if (!filters) return;
  document.body.classList.add("live");
  const words = filters.querySelector("input"), group = filters.querySelector("select");
  const count = filters.querySelector("output");
  const tables = [...document.querySelectorAll("table.dives")];
  const rows = tables.flatMap((table) => [...table.tBodies[0].rows]);
  const texts = rows.map((row) => row.textContent.toLowerCase());

  function filter() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, index) => {
      const isIn = wanted.every((word) => texts[index].includes(word)) &&
        (!group.value || row.dataset.group === group.value);
      row.hidden = !isIn;
      if (isIn) shown += 1;
    });
    count.textContent = `${shown} of ${rows.length} dives`;
  }

  // Numbers sort as numbers, what is not known comes last, names sort as people read them.
  const compare = new Intl.Collator(undefined, { numeric: true }).compare;
  function sort(table, column, isRising) {
    const key = (row) => {
      const text = row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
      return text === "-" || text === "?" || text === "" ? null : text;
    };
    const keyed = [...table.tBodies[0].rows].map((row) => [key(row), row]);
    const areNumbers = keyed.every(([text]) => text === null || !Number.isNaN(Number(text)));
    keyed.sort(([first], [second]) => {
      if (first === null || second === null) return (first === null) - (second === null);
      const order = areNumbers ? Number(first) - Number(second) : compare(first, second);
      return isRising ? order : -order;
    });
    table.tBodies[0].append(...keyed.map(([, row]) => row));
  }

  for (const table of tables) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const isRising = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", isRising ? "ascending" : "descending");
        sort(table, column, isRising);
      });
    });
  }
  words.addEventListener("input", filter);
  group.addEventListener("change", filter);
  filter();
})();
