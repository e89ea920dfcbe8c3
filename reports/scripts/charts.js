// Draws every <figure class="drawing"> of the page from the JSON inside it, and follows choices, theme and printing.
(() => {
  "use strict";
  const figures = new Map();
  // plotly's own button uploads a chart to its makers: what was measured stays in this page.
  const config = { displaylogo: false, responsive: true, showSendToCloud: false, plotlyServerURL: "" };
  const PAPER = 660; // pixels: what A4 and Letter have between their margins, with a little to spare
  let theme = null;
  let printing = false;

  // What changes a picture before it is drawn, by the figure's name: (traces, figure) -> traces.
  const transforms = {};

  function currentTheme() {
    if (printing) return "light";
    const set = theme || document.documentElement.dataset.theme;
    if (set === "light" || set === "dark") return set;
    return window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  }

  function axis(given, colours) {
    const made = { gridcolor: colours.grid, linecolor: colours.line, zerolinecolor: colours.grid, automargin: true };
    return Object.assign(made, given);
  }

  function layoutOf(picture, figure) {
    const colours = window.paretuneThemes[currentTheme()];
    const layout = structuredClone(picture.layout);
    const names = Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key));
    for (const name of new Set(["xaxis", "yaxis", ...names])) layout[name] = axis(layout[name], colours);
    return Object.assign(layout, {
      height: figure.height,
      ...(printing && { width: PAPER }), // what is printed still has the window's width when it is drawn
      margin: { l: 60, r: 20, t: 20, b: 60 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      legend: { orientation: "h", yanchor: "bottom", y: 1.02, x: 0, ...layout.legend },
      font: { family: "system-ui, sans-serif", size: 13, color: colours.text },
      hoverlabel: { bgcolor: colours.panel, bordercolor: colours.line, font: { color: colours.text }, align: "left" },
    });
  }

  // Where there is no WebGL many points are drawn slowly rather than not at all.
  function withoutWebGl(traces) {
    if (!traces.some((trace) => trace.type === "scattergl")) return;
    if (document.createElement("canvas").getContext("webgl")) return;
    for (const trace of traces) if (trace.type === "scattergl") trace.type = "scatter";
  }

  function draw(figure) {
    const picture = figure.pictures[figure.choices.map((choice) => choice.value).join("-")]
      || figure.pictures[figure.first];
    let traces = structuredClone(picture.data);
    let layout = layoutOf(picture, figure);
    withoutWebGl(traces);
    if (transforms[figure.name]) [traces, layout] = transforms[figure.name](traces, layout, figure);
    figure.plot.setAttribute("aria-label", picture.finding);
    figure.root.querySelector(".finding").textContent = picture.finding;
    return window.Plotly.react(figure.plot, traces, layout, config);
  }

  function redraw() {
    for (const figure of figures.values()) draw(figure);
  }

  function found(root) {
    const pictures = JSON.parse(root.querySelector("script.pictures").textContent);
    const figure = {
      name: root.id,
      root,
      plot: root.querySelector(".plot"),
      height: Number(root.dataset.height),
      choices: [...root.querySelectorAll("select.choice")],
      pictures,
      first: Object.keys(pictures)[0],
    };
    for (const choice of figure.choices) choice.addEventListener("change", () => draw(figure));
    return figure;
  }

  // A text as plotly shows it unchanged: it takes some HTML for markup.
  function plain(text) {
    return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }

  window.paretune = { figures, transforms, draw, plain };

  async function start() {
    for (const root of document.querySelectorAll("figure.drawing")) {
      const figure = found(root);
      figures.set(figure.name, figure);
      await new Promise((resolve) => setTimeout(resolve)); // the page stays alive between two charts
      await draw(figure);
    }
    document.documentElement.dataset.charts = "drawn";
    document.dispatchEvent(new CustomEvent("paretune:drawn"));
  }

  document.addEventListener("DOMContentLoaded", start);
  document.addEventListener("paretune:theme", (event) => {
    theme = event.detail;
    redraw();
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  const paper = window.matchMedia("print");
  function print(now) {
    if (printing === now) return;
    printing = now;
    redraw();
    // What had a width of its own keeps it until it is told to take its place's.
    if (!now) for (const figure of figures.values()) window.Plotly.relayout(figure.plot, { autosize: true });
  }
  paper.addEventListener("change", (event) => print(event.matches));
  window.addEventListener("beforeprint", () => print(true));
  window.addEventListener("afterprint", () => print(paper.matches));
})();
