"use strict";
// Tables whose headings are buttons are sorted by them; "data-v" has a cell's value where its text is not it.
for (const table of document.querySelectorAll("table.sorts")) {
  const body = table.tBodies[0];
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.v ?? cell.textContent.trim();
  };
  const order = new Intl.Collator(undefined, { numeric: true }).compare;
  for (const button of table.querySelectorAll("thead button")) {
    button.addEventListener("click", () => {
      const heading = button.closest("th");
      const column = heading.cellIndex;
      const isNumber = heading.classList.contains("number");
      const before = heading.getAttribute("aria-sort");
      const direction = before ? (before === "ascending" ? "descending" : "ascending") : isNumber ? "descending" : "ascending";
      for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", direction);
      const sign = direction === "ascending" ? 1 : -1;
      const rows = [...body.rows].map((row) => [value(row, column), row]);
      const compare = (a, b) => sign * (isNumber ? Number(a) - Number(b) : order(a, b));
      rows.sort(([a], [b]) => (a === "") - (b === "") || compare(a, b)); // what is empty comes last
      body.append(...rows.map(([, row]) => row));
    });
  }
}
// A field above a table leaves the rows that have what is typed into it.
for (const field of document.querySelectorAll("input[data-finds]")) {
  const table = document.getElementById(field.dataset.finds);
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLowerCase();
    for (const row of table.tBodies[0].rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
  });
  field.closest(".find").hidden = false;
}
// The image of a large confusion matrix says what is under the pointer, or under the place that arrow keys move.
const whole = document.getElementById("whole");
if (whole) {
  const { names, cells } = JSON.parse(document.getElementById("matrix-data").textContent);
  const counts = new Map(cells.map(([row, column, images]) => [row * names.length + column, images]));
  const [image, output] = [whole.querySelector("img"), whole.querySelector("output")];
  let [row, column] = [0, 0];
  const say = () => {
    const images = counts.get(row * names.length + column) ?? 0;
    output.textContent = `true: ${names[row]} · predicted: ${names[column]} · ${images} ${images === 1 ? "image" : "images"}`;
  };
  const inside = (place) => Math.min(Math.max(place, 0), names.length - 1);
  image.addEventListener("pointermove", (event) => {
    const box = image.getBoundingClientRect();
    column = inside(Math.floor(((event.clientX - box.left) / box.width) * names.length));
    row = inside(Math.floor(((event.clientY - box.top) / box.height) * names.length));
    say();
  });
  image.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    [row, column] = [inside(row + step[0]), inside(column + step[1])];
    say();
  });
  image.tabIndex = 0;
}
