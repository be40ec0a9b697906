(() => {
  const live = document.getElementById("live"), log = document.getElementById("log");
  const waiting = new Map();
  let after = log ? log.dataset.after : "", source = null;
  const say = (text, on) => { if (live.textContent !== text) live.textContent = text; live.classList.toggle("on", on); };
  const end = () => { log.scrollTop = log.scrollHeight; };

  // What a reader is copying from stays until the selection is gone.
  const swap = () => {
    const chosen = getSelection();
    for (const [id, part] of waiting) {
      const place = document.getElementById(id);
      if (chosen && !chosen.isCollapsed && place.contains(chosen.anchorNode)) continue;
      const focus = place.contains(document.activeElement) && document.activeElement.getAttribute("href");
      place.innerHTML = part.html;
      place.dataset.tag = part.tag;
      waiting.delete(id);
      if (focus) [...place.querySelectorAll("a")].find(a => a.getAttribute("href") === focus)?.focus({ preventScroll: true });
    }
  };
  document.addEventListener("selectionchange", swap);

  const open = () => {
    if (source || document.hidden) return;
    source = new EventSource(document.body.dataset.events + (after && "&after=" + encodeURIComponent(after)));
    source.onopen = () => say("live", true);
    source.onerror = () => say(source.readyState === EventSource.CLOSED ? "not live: load the page again" : "connecting again…", false);
    source.addEventListener("part", e => {
      const part = JSON.parse(e.data), place = document.getElementById(part.id);
      waiting.delete(part.id);
      if (place && place.dataset.tag !== part.tag) waiting.set(part.id, part);
      swap();
    });
    source.addEventListener("lines", e => {
      const lines = JSON.parse(e.data), atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 12;
      after = e.lastEventId;
      if (lines.anew) log.replaceChildren();
      log.insertAdjacentHTML("beforeend", lines.html);
      while (log.childElementCount > 1500) log.firstElementChild.remove();
      if (atEnd) end();
    });
    source.addEventListener("gone", () => { shut(); say("the app is gone", false); });
  };
  const shut = () => { if (source) source.close(); source = null; };
  // A page that nobody looks at costs nothing, and leaves the browser its few connections to one host.
  document.addEventListener("visibilitychange", () => document.hidden ? shut() : open());
  addEventListener("pagehide", shut);
  addEventListener("pageshow", open);
  if (log) end();
  open();
})();
