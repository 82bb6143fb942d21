// Charts: each is fetched as Vega-Lite and drawn when it comes into view.
"use strict";

const drawn = new Map();
let library;

function load(address) {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = resolve;
    script.onerror = () => reject(new Error("the chart library can't be loaded"));
    document.head.append(script);
  });
  return library;
}

function look() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  const text = { labelColor: of("--soft"), titleColor: of("--ink"), labelFont: of("--sans"), titleFont: of("--sans") };
  return {
    background: "transparent",
    font: of("--sans"),
    axis: { ...text, domainColor: of("--line"), tickColor: of("--line"), gridColor: of("--faint"), titleFontWeight: 500 },
    legend: text,
    header: text,
    title: { color: of("--ink"), subtitleColor: of("--soft"), font: of("--sans"), fontSize: 13, fontWeight: 600 },
    view: { stroke: null },
  };
}

const OPTIONS = {
  actions: false,
  ast: true,
  defaultStyle: false,
  mode: "vega-lite",
  renderer: "svg",
  tooltip: { disableDefaultStyle: true, theme: "board" },
  loader: {
    load: () => Promise.reject(new Error("charts load nothing")),
    sanitize: () => Promise.reject(new Error("charts lead nowhere")),
    http: () => Promise.reject(new Error("charts load nothing")),
    file: () => Promise.reject(new Error("charts load nothing")),
  },
};

// The page says already what a figure is of.
function untitled({ title, ...spec }) {
  if (title?.subtitle) spec.title = { ...title, text: "" };
  return spec;
}

async function draw(figure) {
  const place = figure.querySelector(".chart-place");
  try {
    const [spec] = await Promise.all([
      drawn.get(figure)?.spec ??
        fetch(figure.dataset.chart, { credentials: "same-origin" }).then((answer) => {
          if (!answer.ok) throw new Error(`the chart can't be loaded (${answer.status})`);
          return answer.json();
        }),
      load(figure.dataset.library),
    ]);
    drawn.get(figure)?.view?.finalize();
    const found = await window.vegaEmbed(place, untitled(spec), { ...OPTIONS, config: look() });
    drawn.set(figure, { spec, view: found });
    figure.dataset.drawn = "";
  } catch (error) {
    place.textContent = `${error.message}; its numbers are in the table.`;
  }
}

const watch = new IntersectionObserver(
  (seen) => {
    for (const one of seen) {
      if (!one.isIntersecting) continue;
      watch.unobserve(one.target);
      draw(one.target);
    }
  },
  { rootMargin: "300px" },
);

for (const figure of document.querySelectorAll("figure[data-chart]")) watch.observe(figure);

const again = () => {
  for (const figure of drawn.keys()) draw(figure);
};
document.addEventListener("themechange", again);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
