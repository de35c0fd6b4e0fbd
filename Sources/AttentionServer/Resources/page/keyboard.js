// The keys. None of them does anything while text is written or a dialog is open.

import { move } from "./controls.js";

export function listen(store, page) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const place = event.target;
    const isWriting = place.matches?.("textarea, input:not([type=range])");
    if (event.key === "Escape") {
      if (page.closeMenu()) return;
      if (isWriting) place.blur();
      page.unpin();
      return;
    }
    if (isWriting) return;
    // A list and a slider move by arrows themselves, and an open menu as well.
    const isArrow = event.key === "ArrowLeft" || event.key === "ArrowRight";
    if (isArrow && place.matches?.("select, input, [role=menuitem], .table, summary")) return;
    const view = page.views[Number(event.key) - 1];
    const isRightToLeft = document.getElementById("strip").matches(":dir(rtl)");
    const actions = {
      ArrowLeft: () => page.moveTarget(isRightToLeft ? 1 : -1),
      ArrowRight: () => page.moveTarget(isRightToLeft ? -1 : 1),
      "[": () => move(store, "layer", -1, page.layers),
      "]": () => move(store, "layer", 1, page.layers),
      ",": () => move(store, "head", -1, page.heads),
      ".": () => move(store, "head", 1, page.heads),
      m: () => store.change({ layer: null, head: null }),
      "/": () => page.showHelp(),
      "?": () => page.showHelp(),
    };
    const action = view ? () => page.go(view) : actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
