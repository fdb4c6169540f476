// A justified grid of results. Names of files reach the page through textContent and attributes
// only, never as markup. The default export runs again whenever the data changes, on the same
// elements; so tiles are appended, not rebuilt, and the place on the page is kept.

const SEEK = { ArrowRight: 1, ArrowLeft: -1 };
const VERDICTS = [["good", "Good match"], ["bad", "Bad match"]];

function make(tag, name, properties = {}) {
  const element = document.createElement(tag);
  element.className = name;
  return Object.assign(element, properties);
}

function tileOf(item) {
  const aspect = Math.min(Math.max(item.w / item.h, 0.45), 3.2);
  const tile = make("li", "tile");
  tile.style.setProperty("--a", aspect.toFixed(4));
  tile.dataset.id = item.id;
  const label = [item.name, item.strength === null ? "" : `match ${item.strength} of 100`, item.date,
                 item.others ? `stands for ${item.others} more` : ""]
    .filter(Boolean).join(", ");
  const open = make("button", "open", { type: "button" });
  open.setAttribute("aria-label", `Open ${label}`);
  const image = make("img", "", { alt: item.name, decoding: "async", draggable: false });
  image.loading = "lazy";
  image.onerror = () => {
    const note = make("span", "lost", { textContent: item.name });
    image.replaceWith(note);
  };
  image.src = item.src;
  open.append(image);
  const words = make("div", "words");
  words.append(
    make("span", "name", { textContent: item.name }),
    make("span", "date", { textContent: item.offline ? "its disk is not there now" : item.date }),
  );
  const pick = make("label", "pick");
  const box = make("input", "", { type: "checkbox" });
  box.setAttribute("aria-label", `Select ${item.name}`);
  pick.append(box);
  const similar = make("button", "similar", { type: "button", textContent: "More like this" });
  similar.setAttribute("aria-label", `More like ${item.name}`);
  const verdicts = make("div", "verdicts");
  for (const [kind, title] of VERDICTS) {
    const button = make("button", `verdict ${kind}`, { type: "button", title });
    button.setAttribute("aria-label", `${title}: ${item.name}`);
    button.setAttribute("aria-pressed", "false");
    verdicts.append(button);
  }
  tile.append(open, pick, words, similar, verdicts);
  if (item.others) {
    const badge = make("span", "others", { textContent: `+${item.others}` });
    badge.title = `and ${item.others} more like it: open it to see them`;
    tile.append(badge);
  }
  if (item.strength !== null) {
    const strength = make("span", "strength", { textContent: String(item.strength) });
    strength.title = "Match strength, 0 to 100";
    tile.append(strength);
  }
  return tile;
}

// What was chosen here and is on its way to Python, oldest first. A run that began before answers with
// an older selection, which must not undo what was clicked since.
function agrees(grid, selected) {
  const told = JSON.stringify(selected);
  const echo = grid.sent.indexOf(told);
  const known = echo >= 0 || told === grid.told;
  if (echo >= 0) grid.sent.splice(0, echo + 1);
  grid.told = told;
  return known;
}

// Whoever marks with the keyboard goes on at the same photo, wherever it is in the new order.
function placeOfFocus(grid) {
  const focused = grid.getRootNode().activeElement;
  const tile = focused?.closest(".tile");
  if (!tile) return null;
  const control = "." + focused.className.trim().split(/\s+/).join(".");
  return () => {
    const moved = [...grid.children].find((one) => one.dataset.id === tile.dataset.id);
    (moved?.querySelector(control) ?? grid.querySelector(".open"))?.focus({ preventScroll: true });
  };
}

// Marks that are on their way to Python stay as they were clicked.
function showMarks(grid, marks) {
  grid.marks ??= new Map();
  const told = (id) => VERDICTS.map(([kind]) => kind).find((kind) => marks[kind].includes(id)) ?? "";
  for (const [id, kind] of grid.marks) if (told(id) === kind) grid.marks.delete(id);
  for (const tile of grid.children) {
    const id = Number(tile.dataset.id);
    judge(tile, grid.marks.get(id) ?? told(id));
  }
}

function judge(tile, kind) {
  if ((tile.dataset.mark ?? "") === kind) return;
  tile.dataset.mark = kind;
  for (const button of tile.querySelectorAll(".verdict")) {
    button.setAttribute("aria-pressed", String(button.classList.contains(kind || "none")));
  }
}

function show(grid, data) {
  grid.sent ??= [];
  const key = JSON.stringify(data.search);
  const kept = grid.dataset.search === key ? [...grid.children].map((tile) => tile.dataset.id) : [];
  const same = kept.every((id, place) => data.items[place] && String(data.items[place].id) === id);
  const focused = grid.dataset.search !== key || !same ? placeOfFocus(grid) : null;
  if (grid.dataset.search !== key || !same) {
    grid.replaceChildren();
    grid.dataset.search = key;
    grid.sent = [];
    grid.told = undefined;
  }
  const fresh = document.createDocumentFragment();
  for (const item of data.items.slice(grid.children.length)) fresh.append(tileOf(item));
  grid.append(fresh);
  focused?.();
  showMarks(grid, data.marks);
  if (agrees(grid, data.selected)) return;
  const chosen = new Set(data.selected.map(String));
  for (const tile of grid.children) mark(tile, chosen.has(tile.dataset.id));
}

function mark(tile, chosen) {
  tile.classList.toggle("chosen", chosen);
  tile.querySelector(".pick input").checked = chosen;
}

function neighbour(grid, tile, key) {
  const tiles = [...grid.children];
  const at = tiles.indexOf(tile);
  if (key in SEEK) return tiles[at + SEEK[key]];
  const middle = tile.offsetLeft + tile.offsetWidth / 2;
  const down = key === "ArrowDown";
  const rows = tiles.filter((one) => (down ? one.offsetTop > tile.offsetTop + 4
                                           : one.offsetTop < tile.offsetTop - 4));
  if (!rows.length) return undefined;
  const top = down ? Math.min(...rows.map((one) => one.offsetTop))
                   : Math.max(...rows.map((one) => one.offsetTop));
  const away = (one) => Math.abs(one.offsetLeft + one.offsetWidth / 2 - middle);
  return rows.filter((one) => Math.abs(one.offsetTop - top) < 4)
    .reduce((best, one) => (away(one) < away(best) ? one : best));
}

// Streamlit gives the focus to nobody when a dialog closes; whoever uses the keyboard goes on
// where the dialog was opened.
function returnFocus(tile) {
  let seen = false;
  const timer = setInterval(() => {
    const there = document.querySelector('[role="dialog"]') !== null;
    seen = seen || there;
    if (seen && !there) {
      clearInterval(timer);
      if (tile.isConnected) tile.querySelector(".open").focus({ preventScroll: true });
    }
  }, 150);
  setTimeout(() => { if (!seen) clearInterval(timer); }, 10000);
}

export default function ({ parentElement, data, setTriggerValue }) {
  const grid = parentElement.querySelector(".gallery");
  show(grid, data);
  grid.onclick = (event) => {
    const tile = event.target.closest(".tile");
    if (!tile) return;
    const verdict = event.target.closest(".verdict");
    if (verdict) {
      const kind = verdict.classList.contains("good") ? "good" : "bad";
      judge(tile, tile.dataset.mark === kind ? "" : kind);
      grid.marks.set(Number(tile.dataset.id), tile.dataset.mark);
      setTriggerValue("mark", Object.fromEntries(grid.marks));
    } else if (event.target.closest(".similar")) setTriggerValue("similar", Number(tile.dataset.id));
    else if (event.target.closest(".open")) {
      returnFocus(tile);
      setTriggerValue("open", Number(tile.dataset.id));
    }
  };
  grid.onchange = (event) => {
    const tile = event.target.closest(".tile");
    mark(tile, event.target.checked);
    const chosen = [...grid.querySelectorAll(".chosen")].map((one) => Number(one.dataset.id));
    grid.sent.push(JSON.stringify(chosen));
    setTriggerValue("select", chosen);
  };
  grid.onkeydown = (event) => {
    const tile = event.target.closest(".tile");
    if (!tile || !event.key.startsWith("Arrow")) return;
    const next = neighbour(grid, tile, event.key);
    if (next) {
      event.preventDefault();
      next.querySelector(".open").focus();
      next.scrollIntoView({ block: "nearest" });
    }
  };
}
