"use strict";
// Light or dark: as the system has it, until the reader says otherwise; paper is light. Who draws listens to the event
// `paretune:theme` of the document and takes its colours from the variables of the page's style.
(function () {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)"), paper = matchMedia("print");
  let chosen = null, printing = false;

  function apply() {
    const theme = printing ? "light" : chosen || (dark.matches ? "dark" : "light");
    if (root.dataset.theme === theme) return;
    root.dataset.theme = theme;
    document.dispatchEvent(new CustomEvent("paretune:theme", { detail: theme }));
  }
  function print(now) {
    printing = now;
    document.dispatchEvent(new CustomEvent("paretune:print", { detail: { printing } }));
    apply();
  }
  root.classList.add("scripted");
  dark.addEventListener("change", apply);
  paper.addEventListener("change", (event) => print(event.matches));
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(paper.matches));
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    if (!button) return;
    const name = () => { button.setAttribute("aria-pressed", String(root.dataset.theme === "dark")); };
    button.addEventListener("click", () => {
      const system = dark.matches ? "dark" : "light", other = root.dataset.theme === "dark" ? "light" : "dark";
      chosen = other === system ? null : other;
      apply();
    });
    document.addEventListener("paretune:theme", name);
    name();
  });
  apply();
})();
