// Filter and sort the rows; without script they simply stay in the order they were made.
"use strict";
const list = document.getElementById("rows");
if (list) {
  const items = [...list.children];
  const [find, label, sort, count] = ["find", "label", "sort", "count"].map((id) => document.getElementById(id));
  const texts = new Map(items.map((item) => [item, item.textContent.toLowerCase()]));
  const update = () => {
    const words = find.value.toLowerCase();
    const key = sort.value.replace("-", "");
    const sign = sort.value.startsWith("-") ? -1 : 1;
    let shown = 0;
    for (const item of items) {
      item.hidden = !texts.get(item).includes(words) || (label.value !== "" && item.dataset.label !== label.value);
      shown += !item.hidden;
    }
    items.sort((a, b) => sign * (a.dataset[key] - b.dataset[key]) || a.dataset.order - b.dataset.order);
    list.append(...items);
    count.textContent = `${shown} of ${items.length} rows`;
  };
  const controls = document.getElementById("controls");
  controls.hidden = false;
  controls.addEventListener("submit", (event) => event.preventDefault());
  for (const control of [find, label, sort]) control.addEventListener("input", update);
  update();
}
