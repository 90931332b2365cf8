// Colours code by highlight.js, which is loaded for the first block of code; each language for its first block.

import DOMPurify from "../vendor/purify.es.mjs";

const HIGHLIGHT = new URL("../vendor/highlight/", import.meta.url);
const MAX_CHARACTERS = 20_000;
const ALLOWED = { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true };

const LANGUAGES = {
  bash: ["console", "sh", "shell", "zsh"],
  c: ["h"],
  cpp: ["c++", "cc", "hpp"],
  csharp: ["c#", "cs"],
  css: [],
  diff: ["patch"],
  dockerfile: ["docker"],
  go: ["golang"],
  ini: ["toml"],
  java: [],
  javascript: ["js", "jsx", "mjs"],
  json: ["jsonc"],
  kotlin: ["kt"],
  latex: ["tex"],
  markdown: ["md"],
  php: [],
  powershell: ["ps1"],
  python: ["py", "python3"],
  r: [],
  ruby: ["rb"],
  rust: ["rs"],
  sql: [],
  swift: [],
  typescript: ["ts", "tsx"],
  xml: ["html", "svg", "xhtml"],
  yaml: ["yml"],
};
/** A vendored language by its name or an alias of LANGUAGES. */
const BY_NAME = new Map(
  Object.entries(LANGUAGES).flatMap(([language, names]) => [language, ...names].map((name) => [name, language])),
);
/** Languages that others embed. */
const EMBEDDED = { xml: ["css", "javascript"] };

const loaded = new Set();
const loading = new Map();
let highlight = null;

/** Colour a `<code>` element. If the language is not loaded yet, all its blocks on the page are coloured once it is. */
export function colorCode(code, name) {
  const language = BY_NAME.get(name.toLowerCase());
  if (!language) return;
  if (loaded.has(language)) {
    color(code, language);
    return;
  }
  code.dataset.language = language;
  if (!loading.has(language)) loading.set(language, load(language).catch(() => loading.delete(language)));
  loading.get(language).then(() => {
    if (!loaded.has(language)) return;
    for (const each of document.querySelectorAll(`code[data-language="${language}"]`)) color(each, language);
  });
}

async function load(language) {
  const names = [language, ...(EMBEDDED[language] ?? [])];
  const [core, ...grammars] = await Promise.all([
    import(new URL("core.min.js", HIGHLIGHT)),
    ...names.map((name) => import(new URL(`languages/${name}.min.js`, HIGHLIGHT))),
  ]);
  highlight = core.default;
  names.forEach((name, index) => highlight.registerLanguage(name, grammars[index].default));
  names.forEach((name) => loaded.add(name));
}

function color(code, language) {
  delete code.dataset.language;
  const text = code.textContent;
  if (text.length > MAX_CHARACTERS) return;
  const { value } = highlight.highlight(text, { language, ignoreIllegals: true });
  code.replaceChildren(DOMPurify.sanitize(value, ALLOWED));
}
