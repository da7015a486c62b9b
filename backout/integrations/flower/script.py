"""The tab's script: shows anew what may have changed, unless somebody types, selects or has stopped it."""

from typing import Final

SCRIPT: Final = """
"use strict";
(() => {
  const body = document.querySelector(".backout-body[data-refresh-seconds]");
  if (!body) { return; }
  const every = Number(body.dataset.refreshSeconds) * 1000;
  let isPaused = false;
  let failures = 0;
  let last = null;

  const bar = document.createElement("p");
  bar.className = "refreshing";
  const told = document.createElement("span");
  told.setAttribute("role", "status");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Pause refreshing";
  button.addEventListener("click", () => {
    isPaused = !isPaused;
    button.textContent = isPaused ? "Refresh again" : "Pause refreshing";
    if (!isPaused) { refresh(); }
  });
  bar.append(told, button);
  body.before(bar);

  // What somebody has begun is not taken away from them: fields, a selection, an open list of suggestions.
  const isBusy = () => {
    const at = document.activeElement;
    const isTyping = at && body.contains(at) && at.matches("input, select, textarea");
    const isChanged = [...body.querySelectorAll("input, select, textarea")].some((field) =>
      field.type === "checkbox" ? field.checked !== field.defaultChecked
        : field.tagName === "SELECT" ? [...field.options].some((one) => one.selected !== one.defaultSelected)
          : field.value !== field.defaultValue);
    const selected = window.getSelection();
    const isSelecting = selected && !selected.isCollapsed && body.contains(selected.anchorNode);
    return Boolean(isTyping || isChanged || isSelecting);
  };

  const keyOf = (element, among) => [...body.querySelectorAll(among)].indexOf(element);

  const put = (fresh) => {
    const open = [...body.querySelectorAll("details")].map(
      (one) => [one.querySelector("summary")?.textContent, one.open]);
    const at = document.activeElement;
    const place = at && body.contains(at) ? keyOf(at, "a, button, summary") : -1;
    const name = place >= 0 ? at.textContent : "";
    const scrolled = [...body.querySelectorAll("pre, .wide")].map((one) => [one.scrollLeft, one.scrollTop]);
    body.replaceChildren(...fresh.childNodes);
    body.querySelectorAll("details").forEach((one) => {
      const words = one.querySelector("summary")?.textContent;
      const index = open.findIndex(([before]) => before === words);
      if (index >= 0) { one.open = open[index][1]; open.splice(index, 1); }
    });
    body.querySelectorAll("pre, .wide").forEach((one, index) => {
      if (scrolled[index]) { [one.scrollLeft, one.scrollTop] = scrolled[index]; }
    });
    const again = body.querySelectorAll("a, button, summary")[place];
    if (again && again.textContent === name) { again.focus({ preventScroll: true }); }
  };

  const refresh = async () => {
    if (isPaused || document.hidden || isBusy()) { return; }
    try {
      const answer = await fetch(location.href, {
        cache: "no-store", redirect: "error", headers: { "X-Backout-Refresh": "1" } });
      if (!answer.ok) { throw new Error(String(answer.status)); }
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector(".backout-body");
      if (!fresh) { throw new Error("no such page"); }
      const markup = fresh.innerHTML;
      if (markup !== last && !isPaused && !isBusy()) { put(fresh); }
      last = markup;
      failures = 0;
      told.textContent = "";
      // A run that has ended, say: nothing changes any more.
      if (!fresh.dataset.refreshSeconds) { bar.remove(); return false; }
    } catch {
      failures += 1;
      if (failures === 1) { told.textContent = `Not refreshed since ${new Date().toLocaleTimeString()}`; }
    }
  };

  const again = async () => {
    if (await refresh() === false) { return; }
    setTimeout(again, every * Math.min(2 ** failures, 12));
  };
  setTimeout(again, every);
  document.addEventListener("visibilitychange", refresh);
})();
"""
