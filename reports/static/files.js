"use strict";
// Copy and download: of what the page carries, byte for byte.
(function () {
  let files = null;
  function text(name) {
    files = files || JSON.parse(window.paretunePage.unpacked("packed-files"));
    return files[name];
  }
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
