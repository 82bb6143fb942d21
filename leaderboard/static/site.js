// The theme button, the counter of chosen entries, and the page of a submission that follows it.
"use strict";

const THEMES = ["", "light", "dark"];
const NAMES = { "": "as the system has them", light: "light", dark: "dark" };

function themeButton() {
  const button = document.querySelector("[data-theme-button]");
  if (!button) return;
  const root = document.documentElement;
  const label = () => {
    const said = `Colours: ${NAMES[root.dataset.theme ?? ""]}`;
    button.setAttribute("aria-label", said);
    button.title = said;
  };
  button.hidden = false;
  label();
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(root.dataset.theme ?? "") + 1) % THEMES.length];
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    try {
      if (next) localStorage.setItem("theme", next);
      else localStorage.removeItem("theme");
    } catch {
      // It then lasts as long as the page.
    }
    label();
    document.dispatchEvent(new Event("themechange"));
  });
}

function counter() {
  const button = document.querySelector("[data-compare]");
  if (!button) return;
  const said = document.querySelector("[data-chosen]");
  const boxes = [...document.querySelectorAll('input[name="entries"]')];
  const count = () => {
    const chosen = boxes.filter((box) => box.checked).length;
    button.disabled = chosen < 2 || chosen > 20;
    said.textContent = chosen ? `${chosen} chosen${chosen > 20 ? "; 20 at most" : ""}` : "Choose 2 to 20 entries.";
  };
  for (const box of boxes) box.addEventListener("change", count);
  addEventListener("pageshow", count);
  count();
}

function follow() {
  const shown = document.querySelector("[data-follow]");
  if (!shown) return;
  const again = async () => {
    let wait = 5000;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin" });
      if (!answer.ok) throw new Error(answer.statusText);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const now = page.querySelector("#content > div");
      const here = document.querySelector("#content > div");
      if (now && now.innerHTML !== here.innerHTML) here.replaceWith(document.adoptNode(now));
      document.title = page.title;
      if (now && !("follow" in now.dataset)) return;
    } catch {
      wait = 15000;
    }
    setTimeout(again, wait);
  };
  setTimeout(again, 5000);
}

themeButton();
counter();
follow();
