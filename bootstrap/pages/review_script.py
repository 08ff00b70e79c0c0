"""What the review page looks like and does: keys, counters, and the file of decisions."""

#: The bar with the counters and buttons, the keys, and the decisions as text.
HELP = """
<div id="bar" hidden>
  <div><strong id="count"></strong> <progress id="progress"></progress></div>
  <div class="buttons"><button id="reject"><kbd>R</kbd> reject</button> <button id="accept"><kbd>A</kbd> accept</button>
  <button id="undo"><kbd>U</kbd> undo</button> <button id="previous"><kbd>&larr;</kbd></button>
  <button id="next"><kbd>&rarr;</kbd></button> <button id="save"><kbd>S</kbd> save review.json</button>
  <button id="copy"><kbd>C</kbd> copy</button> <button id="help"><kbd>?</kbd> keys</button>
  <span id="told" role="status"></span></div>
</div>
<div id="keys" hidden><table class="record"><tbody>
<tr><th><kbd>R</kbd> or <kbd>X</kbd></th><td>reject this frame, go on to the next</td></tr>
<tr><th><kbd>A</kbd> or <kbd>space</kbd></th><td>accept it, go on to the next</td></tr>
<tr><th><kbd>U</kbd> or <kbd>backspace</kbd></th><td>undo the last decision, go back to it</td></tr>
<tr><th><kbd>&larr;</kbd> <kbd>&rarr;</kbd></th><td>go through the frames without deciding</td></tr>
<tr><th><kbd>home</kbd> <kbd>end</kbd></th><td>to the first and the last frame</td></tr>
<tr><th><kbd>L</kbd></th><td>show the label or take it away</td></tr>
<tr><th><kbd>D</kbd></th><td>show the detection or take it away</td></tr>
<tr><th><kbd>+</kbd> <kbd>-</kbd></th><td>larger and smaller pictures</td></tr>
<tr><th><kbd>S</kbd>, <kbd>C</kbd></th><td>save the decisions as review.json; copy them as text</td></tr>
</tbody></table>
<p class="hint">The decisions so far, to be copied into review.json where a download is not possible:</p>
<textarea id="text" rows="8" readonly spellcheck="false"></textarea></div>
<noscript><p>Without JavaScript the frames can be looked at, but not decided on.</p></noscript>
"""

REVIEW_STYLE = """
main { max-width: 1500px; padding-top: 1rem; }
.cells { --cell: 250px; }
.item h2 { border: 0; margin: 0.8rem 0 0; }
.item .state { margin-left: 0.8em; font-weight: 400; }
.item.rejected .state { color: var(--x); }
.item.rejected .cells { outline: 3px solid var(--x); outline-offset: 4px; }
.item.accepted .state { color: var(--y); }
#bar { position: sticky; top: 0; background: var(--paper); border-bottom: 1px solid var(--rule); padding: 0.4rem 0; z-index: 1;
  font: 14px/1.8 system-ui, sans-serif; }
#bar progress { width: 12rem; }
button { font: inherit; padding: 0.05rem 0.5rem; }
kbd { font: 600 0.9em ui-monospace, monospace; }
#text { width: 100%; font: 12px ui-monospace, monospace; }
.no-label .drawn-label, .no-detection .drawn-detection { display: none; }
"""

#: Without it every frame is shown, one below the other.
REVIEW_SCRIPT = """
(() => {
  "use strict";
  const find = id => document.getElementById(id);
  const data = JSON.parse(find("review-data").textContent);
  const sections = [...document.querySelectorAll(".item")];
  const name = item => `${item.frame} ${item.person} ${item.part}`;
  const names = data.items.map(name);
  // All decisions, those of other rounds as well: name -> [item, "rejected" or "accepted"].
  const decided = new Map();
  for (const what of ["accepted", "rejected"]) for (const item of data[what]) decided.set(name(item), [item, what]);
  const undone = [];
  let place = 0, size = 250, saved = true;
  // Where the browser allows it, a page that was closed goes on where it was.
  const store = "posekit review " + data.run;
  try {
    for (const [key, value] of JSON.parse(localStorage.getItem(store) || "[]")) {
      decided.set(key, value);
      saved = false;
    }
  } catch (error) { /* files opened from a disk may have no storage */ }

  const content = () => {
    const chosen = what => [...decided.values()].filter(value => value[1] === what).map(value => value[0])
      .sort((a, b) => a.frame - b.frame || a.person - b.person || (a.part < b.part ? -1 : 1));
    return JSON.stringify({ schema: data.schema, rejected: chosen("rejected"), accepted: chosen("accepted") }, null, 1) + "\\n";
  };
  const state = key => decided.has(key) ? decided.get(key)[1] : "";
  const show = () => {
    sections.forEach((section, n) => {
      const now = state(names[n]);
      section.hidden = n !== place;
      section.classList.toggle("rejected", now === "rejected");
      section.classList.toggle("accepted", now === "accepted");
      section.querySelector(".state").textContent = now;
    });
    const count = what => names.filter(key => state(key) === what).length;
    const rejected = count("rejected"), accepted = count("accepted"), left = names.length - rejected - accepted;
    find("count").textContent = `${place + 1} of ${names.length}: ${rejected} rejected, ${accepted} accepted, ${left} left`;
    find("progress").max = names.length;
    find("progress").value = names.length - left;
    find("text").value = content();
    document.body.style.setProperty("--cell", size + "px");
    document.querySelectorAll(".cells").forEach(cells => cells.style.setProperty("--cell", size + "px"));
  };
  const tell = words => { find("told").textContent = words; };
  const changed = () => {
    saved = false;
    tell("");
    try {
      localStorage.setItem(store, JSON.stringify(names.filter(key => decided.has(key)).map(key => [key, decided.get(key)])));
    } catch (error) { /* as above */ }
  };
  const go = to => { place = Math.max(0, Math.min(sections.length - 1, to)); show(); };
  const decide = what => {
    if (!sections.length) return;
    undone.push([place, decided.get(names[place])]);
    decided.set(names[place], [data.items[place], what]);
    changed();
    const last = place === sections.length - 1;
    go(place + 1);
    if (last) tell("That was the last frame: S saves the decisions.");
  };
  const undo = () => {
    if (!undone.length) return;
    const [where, before] = undone.pop();
    if (before) decided.set(names[where], before); else decided.delete(names[where]);
    changed();
    go(where);
  };
  const save = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content()], { type: "application/json" }));
    link.download = "review.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    saved = true;
    tell("Saved as review.json where the browser puts downloads.");
  };
  const copy = () => {
    const done = () => { saved = true; tell("Copied: put it into review.json."); };
    const byHand = () => {
      find("keys").hidden = false;
      find("text").focus();
      find("text").select();
      tell("Copy the marked text into review.json.");
    };
    if (navigator.clipboard) navigator.clipboard.writeText(content()).then(done, byHand); else byHand();
  };
  const resize = factor => { size = Math.round(Math.max(100, Math.min(800, size * factor))); show(); };
  const help = () => { find("keys").hidden = !find("keys").hidden; };
  const keys = {
    r: () => decide("rejected"), x: () => decide("rejected"), a: () => decide("accepted"), " ": () => decide("accepted"),
    u: undo, backspace: undo, arrowleft: () => go(place - 1), arrowright: () => go(place + 1), home: () => go(0),
    end: () => go(sections.length - 1), l: () => document.body.classList.toggle("no-label"),
    d: () => document.body.classList.toggle("no-detection"), "+": () => resize(1.25), "-": () => resize(0.8),
    s: save, c: copy, "?": help,
  };
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = keys[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    act();
  });
  const buttons = {
    reject: () => decide("rejected"), accept: () => decide("accepted"), undo, previous: () => go(place - 1),
    next: () => go(place + 1), save, copy, help,
  };
  // A button that kept the focus would take the space key.
  for (const id in buttons) find(id).addEventListener("click", () => { buttons[id](); find(id).blur(); });
  addEventListener("beforeunload", event => { if (!saved) event.preventDefault(); });
  find("bar").hidden = false;
  // On to the first frame on which nothing was decided.
  const open = names.findIndex(key => !decided.has(key));
  go(open < 0 ? 0 : open);
})();
"""
