// The front's own controls: colour by a knob, filter by variant, hover texts, and two points side by side.
(() => {
  "use strict";
  const OKABE_ITO = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#8a8f98"];
  const CIVIDIS = "Cividis";
  const NO_VALUE = "#bdbdbd"; // of a point whose configuration does not have the knob
  const READABLE = 0.6; // opacity from which a colour can be told
  const { shown } = window.paretune;
  const chosen = { left: null, right: null, next: "left" };
  let data = null;
  let controls = {};

  function configOf(point) {
    const positions = data.trials.config[data.points.trial[point]];
    return data.knobs
      .map((knob, index) => [knob.name, positions[index] < 0 ? null : knob.values[positions[index]]])
      .filter(([, value]) => value !== null);
  }

  function titleOf(point) {
    return `trial ${data.trials.number[data.points.trial[point]]}, ${data.points.load[point]}`;
  }

  function hoverOf(point) {
    const { plain } = window.paretune;
    const lines = [`<b>${plain(titleOf(point))}</b>`];
    for (const [name, value] of configOf(point)) lines.push(plain(`${name} ${value}`));
    for (const metric of data.metrics) {
      if (metric.short && metric.value[point] !== null) {
        lines.push(plain(`${metric.label} ${shown(metric.value[point], metric.unit)}`));
      }
    }
    lines.push(plain(data.points.slo[point]));
    const member = data.points.member[point];
    if (member !== null) lines.push(`on the front with probability ${(member * 100).toFixed(0)}%`);
    return lines.join("<br>");
  }

  // Keep the places of every list that goes with the points.
  function keep(trace, places) {
    const count = trace.customdata.length;
    const pick = (value) =>
      Array.isArray(value) && value.length === count ? places.map((place) => value[place]) : value;
    for (const key of ["x", "y", "customdata"]) trace[key] = pick(trace[key]);
    for (const part of [trace.marker, trace.error_x, trace.error_y]) {
      for (const key of Object.keys(part || {})) part[key] = pick(part[key]);
    }
  }

  function coloured(knobIndex, layout) {
    const knob = data.knobs[knobIndex];
    const last = knob.values.length - 1;
    const few = !knob.ordered && knob.values.length <= OKABE_ITO.length;
    const steps = OKABE_ITO.slice(0, last + 1)
      .flatMap((colour, index) => [[index / (last + 1), colour], [(index + 1) / (last + 1), colour]]);
    const every = Math.max(1, Math.ceil(knob.values.length / 12));
    const ticks = knob.values.map((_, index) => index).filter((index) => index % every === 0);
    layout.coloraxis = {
      cmin: -0.5,
      cmax: last + 0.5,
      colorscale: few ? steps : CIVIDIS,
      colorbar: {
        title: { text: window.paretune.plain(knob.name), side: "right" },
        tickvals: ticks,
        ticktext: ticks.map((index) => window.paretune.plain(knob.values[index])),
      },
    };
    return (point) => {
      const position = data.trials.config[data.points.trial[point]][knobIndex];
      return position < 0 ? NO_VALUE : position;
    };
  }

  // The sign of a group in the legend: of points that each have a colour of their own plotly would take a number for one.
  function signOf(trace, layout) {
    return {
      type: "scatter", mode: "markers", name: trace.name, legendgroup: trace.name, x: [null], y: [null], hoverinfo: "skip",
      marker: { symbol: trace.marker.symbol, size: trace.marker.size, color: layout.font.color },
    };
  }

  function transform(traces, layout) {
    const variant = controls.variant && controls.variant.value !== "0" ? Number(controls.variant.value) - 1 : null;
    const colour = controls.colour.value === "0" ? null : coloured(Number(controls.colour.value) - 1, layout);
    const rings = { x: [], y: [] }, signs = [];
    for (const trace of traces) {
      if (!trace.customdata) continue;
      const places = trace.customdata
        .map((point, place) => [point, place])
        .filter(([point]) => variant === null || data.trials.variant[data.points.trial[point]] === variant)
        .map(([, place]) => place);
      if (places.length < trace.customdata.length) keep(trace, places);
      trace.text = trace.customdata.map(hoverOf);
      if (colour) {
        signs.push(signOf(trace, layout));
        Object.assign(trace, { showlegend: false, legendgroup: trace.name });
        trace.marker.color = trace.customdata.map(colour);
        trace.marker.coloraxis = "coloraxis";
        trace.marker.opacity = trace.marker.opacity.map((opacity) => Math.max(opacity, READABLE));
        trace.marker.line = { width: 1, color: layout.yaxis.linecolor }; // dark colours on a dark ground
      }
      trace.customdata.forEach((point, place) => {
        if (point === chosen.left || point === chosen.right) {
          rings.x.push(trace.x[place]);
          rings.y.push(trace.y[place]);
        }
      });
    }
    traces.push({
      type: "scatter", mode: "markers", name: "compared below", hoverinfo: "skip", ...rings,
      marker: { symbol: "circle-open", size: 18, color: layout.font.color, line: { width: 2 } },
    });
    return [[...signs, ...traces], layout];
  }

  function element(tag, text, attributes = {}) {
    const made = document.createElement(tag);
    made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  }

  function row(label, left, right, difference) {
    const made = document.createElement("tr");
    made.append(element("th", label, { scope: "row" }));
    made.append(element("td", left), element("td", right));
    made.append(element("td", difference));
    if (difference) {
      made.className = "differs";
      made.style.fontWeight = "600";
    }
    return made;
  }

  function bounded(metric, point) {
    return Boolean(metric.low) && (Number.isFinite(metric.low[point]) || Number.isFinite(metric.high[point]));
  }

  function withInterval(metric, point) {
    const value = shown(metric.value[point], metric.unit);
    if (!bounded(metric, point) || metric.low[point] === metric.high[point]) return value;
    return `${value} [${shown(metric.low[point], metric.unit)}, ${shown(metric.high[point], metric.unit)}]`;
  }

  // Say how two values differ, and whether their intervals leave room for no difference at all.
  function difference(metric, left, right) {
    const [one, other] = [metric.value[left], metric.value[right]];
    if (one === other || one === null || other === null) return ""; // nothing to tell apart
    if (!Number.isFinite(one) || !Number.isFinite(other)) return "differs";
    const ratio = one ? `${(other / one).toFixed(2)}x` : "differs";
    if (!bounded(metric, left) || !bounded(metric, right)) return ratio;
    const apart = metric.low[left] > metric.high[right] || metric.low[right] > metric.high[left];
    return apart ? `${ratio}, intervals apart` : `${ratio}, within the intervals`;
  }

  function compare() {
    const table = document.querySelector("#comparison table");
    const { left, right } = chosen;
    if (left === null || right === null) return;
    const head = document.createElement("tr");
    for (const text of ["", titleOf(left), titleOf(right), "difference"]) {
      head.append(element("th", text, { scope: "col" }));
    }
    const rows = [head, row("workload", data.points.workload[left], data.points.workload[right],
      data.points.workload[left] === data.points.workload[right] ? "" : "differs"),
    row("load", data.points.load[left], data.points.load[right],
      data.points.load[left] === data.points.load[right] ? "" : "differs")];
    const configs = [left, right].map((point) => new Map(configOf(point)));
    for (const { name } of data.knobs.filter((knob) => !knob.level)) {
      const [one, other] = configs.map((config) => config.get(name) ?? "");
      if (one || other) rows.push(row(name, one, other, one === other ? "" : "differs"));
    }
    for (const metric of data.metrics) {
      if (metric.value[left] === null && metric.value[right] === null) continue;
      rows.push(row(metric.label, withInterval(metric, left), withInterval(metric, right),
        difference(metric, left, right)));
    }
    rows.push(row("SLO", data.points.slo[left], data.points.slo[right],
      data.points.slo[left] === data.points.slo[right] ? "" : "differs"));
    const among = row("among all trials", "", "", "");
    among.className = "scripted-only";
    [left, right].forEach((point, side) => among.children[side + 1].append(finder(point)));
    table.replaceChildren(...rows, among);
    controls.left.value = String(left);
    controls.right.value = String(right);
  }

  // A button that shows the rows of a point's trial in the table of all trials.
  function finder(point) {
    const trial = data.trials.number[data.points.trial[point]];
    const made = element("button", "show", { type: "button", "aria-label": `show trial ${trial} among all trials` });
    made.addEventListener("click", () =>
      document.dispatchEvent(new CustomEvent("paretune:trial", { detail: { trial } })));
    return made;
  }

  function options(select) {
    const several = new Set(data.points.workload).size > 1;
    select.replaceChildren(...data.points.trial.map((_, point) =>
      element("option", titleOf(point) + (several ? `, ${data.points.workload[point]}` : ""), { value: point })));
  }

  // JSON has no infinity: "inf" and "-inf" stand for it in the columns of the metrics, null for what was not measured.
  function parsed(text) {
    const found = JSON.parse(text);
    const number = (value) => ({ inf: Infinity, "-inf": -Infinity })[value] ?? value;
    for (const metric of found.metrics) {
      for (const key of ["value", "low", "high"]) if (metric[key]) metric[key] = metric[key].map(number);
    }
    return found;
  }

  function start() {
    if (!document.getElementById("trial-data")) return;
    data = parsed(window.paretunePage.unpacked("trial-data"));
    controls = {
      colour: document.getElementById("front-colour"),
      variant: document.getElementById("front-variant"),
      left: document.getElementById("compare-left"),
      right: document.getElementById("compare-right"),
    };
    [chosen.left, chosen.right] = data.pair.length ? data.pair : [null, null];
    window.paretune.transforms.front = transform;
    const redraw = () => window.paretune.draw(window.paretune.figures.get("front"));
    for (const control of [controls.colour, controls.variant]) {
      if (control) control.addEventListener("change", redraw);
    }
    for (const side of ["left", "right"]) {
      options(controls[side]);
      controls[side].addEventListener("change", () => {
        chosen[side] = Number(controls[side].value);
        chosen.next = side === "left" ? "right" : "left";
        compare();
        redraw();
      });
    }
    compare();
    document.addEventListener("paretune:drawn", () => {
      document.querySelector("#front .plot").on("plotly_click", (event) => {
        const point = event.points.find((one) => one.customdata !== undefined);
        if (!point) return;
        chosen[chosen.next] = point.customdata;
        chosen.next = chosen.next === "left" ? "right" : "left";
        compare();
        redraw();
      });
    });
  }

  document.addEventListener("DOMContentLoaded", start);
})();
