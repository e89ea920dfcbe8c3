// How a figure is spelled: with the digits that the command line and the rest of the page give it.
(() => {
  "use strict";

  // Rounded by a number's exact value, and in a tie to even. A browser rounds the shortest decimal, and a tie up; only
  // what is exact in binary is a tie.
  function rounded(value, nearest, digits) {
    const number = Number.isInteger(value * 1024) ? value : Number(nearest);
    return number.toLocaleString("en", { ...digits, roundingMode: "halfEven" });
  }

  function fixed(value, digits) {
    return rounded(value, value.toFixed(digits), { minimumFractionDigits: digits, maximumFractionDigits: digits });
  }

  function few(value, digits) {
    return rounded(value, value.toPrecision(digits), { maximumSignificantDigits: digits });
  }

  function shown(value, unit) {
    if (value === null || value === undefined) return "not measured";
    if (value === -Infinity && (unit === "s" || unit === "/s")) return shown(0, unit); // never below it
    if (!Number.isFinite(value)) return value > 0 ? "∞" : "-∞";
    switch (unit) {
      case "s": return `${fixed(value * 1e3, 2)} ms`;
      case "/s": return `${Math.abs(value) < 100 ? few(value, 3) : fixed(value, 0)}/s`;
      case "share": return `${fixed(value * 100, 2)}%`;
      case "bytes": return `${fixed(value / 2 ** 20, 1)} MiB`;
      case "J": return value >= 0.9995 ? `${fixed(value, 2)} J` : `${few(value * 1e3, 3)} mJ`;
      case "cores": return `${fixed(value, 2)} cores`;
      case "tokens": return `${fixed(value, 1)} tokens`;
      default: return Math.abs(value) < 9999.5 ? String(Number(value.toPrecision(4))) : fixed(value, 0);
    }
  }

  window.paretune.shown = shown;
})();
