"use strict";

const AT_A_TIME = 4;
const find = (id) => document.getElementById(id);
const results = find("results");
const waiting = [];
let busy = 0;
let done = 0;
let total = 0;

function element(kind, name, text) {
  const made = document.createElement(kind);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

function card(file) {
  const item = element("li");
  const picture = element("div", "picture");
  const image = element("img");
  image.alt = "";
  image.src = URL.createObjectURL(file);
  image.onerror = () => picture.replaceChildren();
  picture.append(image);
  const text = element("div", "text");
  text.append(element("p", "name", file.name || "pasted picture"), element("p", "wait", "…"));
  item.append(picture, text);
  results.prepend(item);
  return { file, item, image, text };
}

function fail(entry, message) {
  entry.text.lastChild.replaceWith(element("p", "error", message));
}

function fill(entry, prediction) {
  entry.text.lastChild.remove();
  for (const found of prediction.classes) {
    const row = element("div", "class");
    const meter = element("meter");
    meter.value = found.probability;
    meter.setAttribute("aria-hidden", "true");
    row.append(element("span", "", found.class), element("span", "", `${(100 * found.probability).toFixed(1)} %`), meter);
    entry.text.append(row);
  }
  if (prediction.explanation) {
    const plain = entry.image.src;
    entry.image.src = prediction.explanation;
    entry.image.alt = "Red places speak most for the class";
    entry.image.title = "Red places speak most for the class. Point at it to see the picture.";
    entry.image.onmouseenter = () => { entry.image.src = plain; };
    entry.image.onmouseleave = () => { entry.image.src = prediction.explanation; };
  }
}

async function ask(entry) {
  const form = new FormData();
  form.append("file", entry.file, entry.file.name || "picture");
  const query = find("explain").checked ? "?explain=true" : "";
  for (let attempt = 0; ; attempt += 1) {
    const response = await fetch(`/predict${query}`, { method: "POST", body: form });
    if (response.status === 503 && attempt < 10) {
      await new Promise((resolve) => setTimeout(resolve, 500));
      continue;
    }
    const answer = await response.json().catch(() => ({ detail: `The server answered ${response.status}.` }));
    if (response.ok) fill(entry, answer.predictions[0]);
    else fail(entry, typeof answer.detail === "string" ? answer.detail : "The request was refused.");
    return;
  }
}

function show() {
  find("bar").hidden = false;
  find("status").textContent = done < total ? `${done} of ${total}` : `${total} ${total === 1 ? "picture" : "pictures"}`;
}

async function work() {
  while (busy < AT_A_TIME && waiting.length) {
    const entry = waiting.shift();
    busy += 1;
    ask(entry)
      .catch(() => fail(entry, "The server does not answer."))
      .finally(() => {
        busy -= 1;
        done += 1;
        show();
        work();
      });
  }
}

function add(files) {
  for (const file of files) waiting.push(card(file));
  total += files.length;
  show();
  work();
}

const drop = find("drop");
find("files").addEventListener("change", (event) => {
  add([...event.target.files]);
  event.target.value = "";
});
drop.addEventListener("keydown", (event) => {
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    find("files").click();
  }
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
  results.replaceChildren();
  done = total = 0;
  find("bar").hidden = true;
});

fetch("/health").then((response) => response.json()).then((health) => {
  find("title").textContent = document.title = health.model;
  find("about").textContent = `${health.classes.toLocaleString("en")} classes`;
  find("explain").checked = health.explains;
  find("explain").parentElement.hidden = !health.explains;
}).catch(() => { find("about").textContent = "The server does not answer."; });
