// Before anything is drawn: the light that was chosen last. Not a module, since those wait for the page.
try {
  const chosen = JSON.parse(localStorage.getItem("maritalk.theme"));
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch {
  // Without storage, the system's light.
}
