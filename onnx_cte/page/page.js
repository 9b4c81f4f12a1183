"use strict";
(function () {
  const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));
  const numeric = (element, key) => {
    const text = element.dataset[key];
    return text === undefined || text === "" ? NaN : Number(text);
  };
  const collator = new Intl.Collator("en", { numeric: true });

  // What is undefined is last, whichever way round; equals stay in the order of ranks.
  function ordered(elements, key, kind, sign) {
    return elements.slice().sort((one, other) => {
      let difference;
      if (kind === "text") {
        difference = sign * collator.compare(one.dataset[key], other.dataset[key]);
      } else {
        const a = numeric(one, key), b = numeric(other, key);
        if (Number.isNaN(a) || Number.isNaN(b)) difference = Number.isNaN(a) - Number.isNaN(b);
        else difference = sign * (a - b);
      }
      return difference || numeric(one, "rank") - numeric(other, "rank");
    });
  }

  for (const button of all(".sort")) {
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const before = head.getAttribute("aria-sort");
      const up = before ? before === "descending" : button.dataset.first === "up";
      for (const other of all("th", head.parentElement)) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const body = button.closest("table").tBodies[0];
      body.append(...ordered(all("tr", body), button.dataset.key, button.dataset.kind, up ? 1 : -1));
    });
  }

  const order = document.getElementById("order");
  const signs = { rank: 1, model: 1, flipped: 1, value: -1, foreground: -1 };
  if (order) {
    order.addEventListener("change", () => {
      const key = order.value;
      for (const list of all(".cards")) {
        list.append(...ordered(all("li", list), key, key === "model" ? "text" : "number", signs[key]));
      }
    });
    const pictures = document.getElementById("pictures").classList;
    document.getElementById("contours").addEventListener("change", (event) => {
      pictures.toggle("plain", !event.target.checked);
    });
    document.getElementById("large").addEventListener("change", (event) => {
      pictures.toggle("large", event.target.checked);
    });
  }

  const filter = document.getElementById("filter");
  filter.addEventListener("input", () => {
    const wanted = filter.value.trim().toLowerCase();
    for (const element of all("[data-model]")) {
      element.toggleAttribute("hidden", !element.dataset.model.toLowerCase().includes(wanted));
    }
    const rows = all("#standings tbody tr");
    const shown = rows.filter((row) => !row.hidden).length;
    document.getElementById("shown").textContent = wanted ? shown + " of " + rows.length : "";
  });

  for (const controls of all(".filter, .controls")) controls.hidden = false;
})();
