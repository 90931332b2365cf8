// Applies the stored theme before the first paint. Not a module: modules run after the document is parsed.
try {
  const theme = JSON.parse(localStorage.getItem("maritalk.theme"));
  if (theme) document.documentElement.dataset.theme = theme;
} catch {
  // Without local storage, the system's theme applies.
}
