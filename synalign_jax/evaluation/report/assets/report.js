// Filter, sort and page the rows; without script all of them stand there, the heaviest first.
"use strict";
const list = document.getElementById("rows");
if (list) {
  const STEP = 12;
  const items = [...list.children];
  const [find, label, sort, count, more] = ["find", "label", "sort", "count", "more"].map((id) => document.getElementById(id));
  const texts = new Map(items.map((item) => [item, item.textContent.toLowerCase()]));
  let most = STEP;
  const update = () => {
    const words = find.value.toLowerCase();
    const key = sort.value.replace("-", "");
    const sign = sort.value.startsWith("-") ? -1 : 1;
    items.sort((a, b) => sign * (a.dataset[key] - b.dataset[key]) || a.dataset.order - b.dataset.order);
    list.append(...items);
    let found = 0;
    for (const item of items) {
      const fits = texts.get(item).includes(words) && (label.value === "" || item.dataset.label === label.value);
      found += fits;
      item.hidden = !fits || found > most;
    }
    more.hidden = found <= most;
    count.textContent = `${Math.min(found, most)} of ${found} shown` + (found < items.length ? `, ${items.length - found} filtered out` : "");
  };
  const again = () => {
    most = STEP;
    update();
  };
  const controls = document.getElementById("controls");
  controls.hidden = false;
  controls.addEventListener("submit", (event) => event.preventDefault());
  for (const control of [find, label, sort]) control.addEventListener("input", again);
  more.addEventListener("click", () => {
    const first = items.filter((item) => !item.hidden).length;
    most += 4 * STEP;
    update();
    // The reader goes on where the new rows begin.
    const next = items.filter((item) => !item.hidden)[first];
    if (next) next.querySelector("summary").focus();
  });
  addEventListener("beforeprint", () => {
    for (const section of document.querySelectorAll("details.warnings, figure details")) section.open = true;
  });
  update();
}
