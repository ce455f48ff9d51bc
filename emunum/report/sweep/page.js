"use strict";

// Theme: the system's until the reader chooses one.
(() => {
  const button = document.querySelector(".theme");
  const names = ["auto", "light", "dark"];
  const stored = () => {
    try { return localStorage.getItem("emunum-theme"); } catch { return null; }
  };
  const show = (name) => {
    if (name === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    button.textContent = `Theme: ${name}`;
  };
  let current = names.includes(stored()) ? stored() : "auto";
  show(current);
  button.hidden = false;
  button.addEventListener("click", () => {
    current = names[(names.indexOf(current) + 1) % names.length];
    try { localStorage.setItem("emunum-theme", current); } catch { /* a page without storage */ }
    show(current);
  });
})();

// Tables: a click on a header sorts by its column, a second one the other way round.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headers = [...table.tHead.rows[0].cells];
  const keyOf = (row, column) => {
    const { value } = row.cells[column].dataset;
    if (value === undefined) return null;
    return headers[column].classList.contains("number") ? Number(value) : value;
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const down = header.getAttribute("aria-sort") === "ascending";
      for (const other of headers) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].map((row) => ({ row, key: keyOf(row, column) }));
      rows.sort((a, b) => {
        if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
        return down ? compare(b.key, a.key) : compare(a.key, b.key);
      });
      body.append(...rows.map(({ row }) => row));
    });
  });
}
