"use strict";
// Copy and download: of what the page carries. Files of many rows are carried as columns, see reports/columns.py.
(function () {
  let carried = null;

  // The cells of a column: places of its texts in the pool, and what stands where nothing is held.
  function cells([held, runs], gap) {
    const lines = carried.pool[held].split("\n"), found = [];
    let next = 0, ofGaps = false;
    for (const length of carried.pool[runs].split(",").map(Number)) {
      for (let count = 0; count < length; count += 1) found.push(ofGaps ? gap : whole(lines[next++]));
      ofGaps = !ofGaps;
    }
    return found;
  }
  function whole(line) {
    return line.includes("\\") ? line.replace(/\\(.)/g, (_, one) => (one === "n" ? "\n" : one)) : line;
  }
  function csv(columns) {
    const all = columns.map(([heading, column]) => [heading, ...cells(column, "")]);
    return all[0].map((_, row) => `${all.map((column) => column[row]).join(",")}\n`).join("");
  }
  function json({ shapes, tree }) {
    const parts = [];
    function several(count, [open, close], indent, one) {
      parts.push(open);
      for (let index = 0; index < count; index += 1) {
        parts.push(index ? ",\n" : "\n", indent, " ");
        one(index);
      }
      parts.push(count ? `\n${indent}${close}` : close);
    }
    function value(place, indent) {
      place.left = place.left || cells(place.cells, "null")[Symbol.iterator]();
      const cell = place.left.next().value, number = Number(cell.slice(1));
      if (cell[0] === "[") several(number, "[]", indent, () => value(place.items, `${indent} `));
      else if (cell[0] !== "{") parts.push(cell);
      else {
        several(shapes[number].length, "{}", indent, (index) => {
          const key = shapes[number][index];
          parts.push(JSON.stringify(key), ": ");
          value(place.keys[key], `${indent} `);
        });
      }
    }
    value(tree, "");
    return parts.join("");
  }
  function text(name) {
    carried = carried || JSON.parse(window.paretunePage.unpacked("packed-files"));
    const file = carried.files[name];
    return file.csv ? csv(file.csv) : file.json ? json(structuredClone(file.json)) : file.text;
  }
  window.paretunePage.file = text;
  function say(button, words) {
    const said = button.parentElement.querySelector("[role=status]");
    if (said) said.textContent = words;
  }
  function download(name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text(name)], { type: name.endsWith(".json") ? "application/json" : "text/plain" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
  function copyBySelection(words) {
    const field = document.createElement("textarea");
    field.value = words;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
  async function copy(words) {
    try {
      await navigator.clipboard.writeText(words);
      return true;
    } catch {
      return copyBySelection(words);
    }
  }
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-download], button[data-copy-file], button[data-copy]");
    if (!button) return;
    const { download: name, copyFile, copy: of } = button.dataset;
    if (name) {
      download(name);
      say(button, `${name} is downloaded`);
      return;
    }
    const done = await copy(copyFile ? text(copyFile) : document.getElementById(of).textContent);
    button.focus();
    say(button, done ? "copied" : "could not be copied here: select the text");
  });
})();
