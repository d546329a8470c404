// Filter, sort and page the rows; without script all of them stand there, the heaviest first.
"use strict";
const list = document.getElementById("rows");
if (list) {
  const STEP = 12;
  const items = [...list.children];
  const [find, label, sort, count, more] = ["find", "label", "sort", "count", "more"].map((id) => document.getElementById(id));
  const texts = new Map(items.map((item) => [item, item.textContent.toLowerCase()]));
  let most = STEP;
  // A long text ends in a button that shows the rest: no scrolling inside of what scrolls.
  const shorten = (text) => {
    if (text.dataset.seen) return;
    text.dataset.seen = "yes";
    text.classList.add("short");
    if (text.scrollHeight <= text.clientHeight + 1) return text.classList.remove("short");
    const whole = document.createElement("button");
    whole.type = "button";
    whole.className = "whole";
    whole.textContent = "Show the whole text";
    whole.setAttribute("aria-expanded", "false");
    whole.addEventListener("click", () => {
      const short = text.classList.toggle("short");
      whole.textContent = short ? "Show the whole text" : "Show less";
      whole.setAttribute("aria-expanded", String(!short));
    });
    text.after(whole);
  };
  const update = () => {
    const words = find.value.toLowerCase();
    const key = sort.value.replace("-", "");
    const sign = sort.value.startsWith("-") ? -1 : 1;
    items.sort((a, b) => sign * (a.dataset[key] - b.dataset[key]) || a.dataset.order - b.dataset.order);
    list.append(...items);
    let found = 0;
    for (const item of items) {
      const fits = texts.get(item).includes(words) && (label.value === "" || item.dataset.labels.split(" ").includes(label.value));
      found += fits;
      item.hidden = !fits || found > most;
      if (!item.hidden) shorten(item.querySelector(".text"));
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
