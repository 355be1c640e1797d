"use strict";

const AT_A_TIME = 4;
const find = (id) => document.getElementById(id);
const results = find("results");
const waiting = [];
let busy = 0;

function element(kind, name, text) {
  const made = document.createElement(kind);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

function card(file) {
  const item = element("li", "waiting");
  const picture = element("button", "picture");
  picture.type = "button";
  picture.disabled = true;
  const image = element("img");
  image.alt = "";
  image.src = URL.createObjectURL(file);
  image.onerror = () => image.remove();
  picture.append(image);
  const text = element("div", "text");
  text.append(element("p", "name", file.name || "pasted picture"), element("p", "wait", "…"));
  item.append(picture, text);
  results.prepend(item);
  return { file, item, picture, image, text };
}

function fail(entry, message) {
  entry.text.lastChild.replaceWith(element("p", "error", message));
}

function fill(entry, prediction) {
  entry.text.lastChild.remove();
  if (prediction.labels) entry.text.append(element("p", "labels", prediction.labels.join(", ") || "none of the classes"));
  for (const found of prediction.classes) {
    const row = element("div", prediction.labels?.includes(found.class) ? "class shown" : "class");
    const meter = element("meter");
    meter.value = found.probability;
    meter.setAttribute("aria-hidden", "true");
    row.append(element("span", "", found.class), element("span", "", `${(100 * found.probability).toFixed(1)} %`), meter);
    entry.text.append(row);
  }
  if (prediction.explanation) explain(entry, prediction);
}

function explain(entry, prediction) {
  const { image, picture } = entry;
  const plain = image.isConnected ? image.src : null;
  const show = (explained) => {
    image.src = explained ? prediction.explanation : plain;
    image.alt = explained ? `What speaks for ${prediction.classes[0].class}: the red places most` : "";
    picture.setAttribute("aria-pressed", String(explained));
  };
  picture.append(image);
  show(true);
  if (!plain) return; // a format that the browser does not show
  picture.disabled = false;
  picture.title = "Red places speak most for the class. Click to see the picture without them, and back.";
  picture.addEventListener("click", () => show(picture.getAttribute("aria-pressed") !== "true"));
}

async function ask(entry) {
  const form = new FormData();
  form.append("file", entry.file, entry.file.name || "picture");
  const query = find("explain").checked ? "?explain=true" : "";
  for (let attempt = 0; ; attempt += 1) {
    const response = await fetch(`predict${query}`, { method: "POST", body: form });
    if (response.status === 503 && attempt < 20) {
      await new Promise((resolve) => setTimeout(resolve, 500));
      continue;
    }
    const answer = await response.json().catch(() => ({ detail: `The server answered ${response.status}.` }));
    if (response.ok) fill(entry, answer.predictions[0]);
    else fail(entry, answer.detail);
    return;
  }
}

function show() {
  const total = results.children.length;
  const left = results.querySelectorAll(".waiting").length;
  find("bar").hidden = total === 0;
  find("status").textContent = left ? `${total - left} of ${total}` : `${total} ${total === 1 ? "picture" : "pictures"}`;
}

function work() {
  while (busy < AT_A_TIME && waiting.length) {
    const entry = waiting.shift();
    busy += 1;
    ask(entry)
      .catch(() => fail(entry, "The server does not answer."))
      .finally(() => {
        busy -= 1;
        entry.item.classList.remove("waiting");
        show();
        work();
      });
  }
}

function add(files) {
  for (const file of files) waiting.push(card(file));
  show();
  work();
}

const drop = find("drop");
find("files").addEventListener("change", (event) => {
  add([...event.target.files]);
  event.target.value = "";
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) add([...event.dataTransfer.files]);
  });
}
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) add([...event.clipboardData.files]);
});
find("clear").addEventListener("click", () => {
  waiting.length = 0;
  for (const image of results.querySelectorAll("img")) URL.revokeObjectURL(image.src);
  results.replaceChildren();
  show();
});

fetch("health").then((response) => response.json()).then((health) => {
  find("title").textContent = document.title = health.model;
  find("about").textContent = `${health.classes.toLocaleString("en")} ${health.classes === 1 ? "class" : "classes"}`;
  find("explain").checked = health.explains;
  find("explain").parentElement.hidden = !health.explains;
}).catch(() => { find("about").textContent = "The server does not answer."; });
