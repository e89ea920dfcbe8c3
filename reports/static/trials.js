"use strict";
// The table of all trials: filtered, sorted, and drawn a page at a time from the data that the page carries.
(function () {
  const PAGE = 200, PAPER = 1000;
  const table = document.getElementById("trials"), body = table.tBodies[0];
  const data = unfolded(JSON.parse(window.paretunePage.unpacked("packed-trials")));
  const controls = { text: "filter-text", state: "filter-state", workload: "filter-workload", slo: "filter-slo" };
  for (const [name, id] of Object.entries(controls)) controls[name] = document.getElementById(id);
  const count = document.getElementById("trials-count"), more = document.getElementById("trials-more");
  const order = { column: -1, descending: false };
  let found = data.rows, limit = PAGE, printing = false;

  // The page carries columns; here a row has its cells as they are shown, and what each is sorted by.
  function unfolded({ columns, rows }) {
    const names = Object.keys(rows);
    return {
      columns,
      rows: rows.trial.map((_, index) => {
        const row = Object.fromEntries(names.map((name) => [name, rows[name][index]]));
        row.cells = columns.map((column) => column.shown[index]);
        row.values = columns.map((column) => (column.values || column.shown)[index]);
        row.words = row.cells.join("\n").toLowerCase();
        return row;
      }),
    };
  }
  const places = new Map(data.columns.map((column, index) => [column.name.toLowerCase().replaceAll(" ", "_"), index]));

  // `int8 name=value`: every word stands somewhere in the row, every named column says just that.
  function matcher(words) {
    const asked = words.toLowerCase().split(/\s+/).filter(Boolean).map((word) => {
      const at = word.indexOf("="), name = word.slice(0, Math.max(at, 0)), value = word.slice(at + 1);
      const place = value ? places.get(name) : undefined;
      if (place === undefined) return (row) => row.words.includes(word);
      return (row) => row.cells[place].toLowerCase().replaceAll(" ", "") === value;
    });
    return (row) => asked.every((one) => one(row));
  }
  function compared(one, other) {
    const [a, b] = [one.values[order.column], other.values[order.column]];
    const [noA, noB] = [a, b].map((value) => value === null || value === "");
    if (noA || noB) return noA - noB; // what has no value stays at the end, whichever way
    const way = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
    return order.descending ? -way : way;
  }
  function select() {
    const matches = matcher(controls.text.value);
    const wanted = ["state", "workload", "slo"].map((name) => [name, controls[name].value]).filter(([, value]) => value);
    found = data.rows.filter((row) => wanted.every(([name, value]) => row[name] === value) && matches(row));
    if (order.column >= 0) found.sort(compared);
    limit = PAGE;
    draw();
  }
  function drawn(row) {
    const line = document.createElement("tr");
    if (row.mark) line.className = row.mark;
    line.dataset.trial = row.trial;
    row.cells.forEach((cell, index) => {
      const made = document.createElement("td");
      made.textContent = cell;
      made.className = data.columns[index].number ? "number" : "";
      if (index === row.cells.length - 1) made.className = `said ${row.tone}`;
      line.append(made);
    });
    return line;
  }
  function draw() {
    const rows = found.slice(0, printing ? Math.max(limit, PAPER) : limit);
    body.replaceChildren(...rows.map(drawn));
    const of = found.length === data.rows.length ? "" : ` of ${data.rows.length.toLocaleString("en")}`;
    const part = rows.length < found.length ? `, the first ${rows.length.toLocaleString("en")} are shown` : "";
    count.textContent = `${found.length.toLocaleString("en")}${of} rows${part}`;
    more.hidden = rows.length === found.length;
  }
  function sortable(head, index) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.textContent = head.textContent;
    button.addEventListener("click", () => {
      order.descending = order.column === index && !order.descending;
      order.column = index;
      for (const one of heads) one.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order.descending ? "descending" : "ascending");
      select();
    });
    head.replaceChildren(button);
  }
  function reset(words) {
    for (const control of Object.values(controls)) control.value = "";
    controls.text.value = words;
    order.column = -1;
    for (const one of heads) one.removeAttribute("aria-sort");
    select();
  }
  function show(trial) {
    reset(`trial=${trial}`);
    document.getElementById("all-trials").scrollIntoView();
  }
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach(sortable);
  controls.text.addEventListener("input", select);
  for (const name of ["state", "workload", "slo"]) controls[name].addEventListener("change", select);
  document.getElementById("filter-reset").addEventListener("click", () => reset(""));
  more.addEventListener("click", () => { limit += PAGE; draw(); });
  document.addEventListener("paretune:trial", (event) => show(event.detail.trial));
  document.addEventListener("paretune:print", (event) => { printing = event.detail.printing; draw(); });
  select();
})();
