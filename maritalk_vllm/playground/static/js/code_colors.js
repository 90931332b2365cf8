// Colours in blocks of code, by highlight.js. It is loaded with the first block, each language with its first one.

import DOMPurify from "../vendor/purify.es.mjs";

const HIGHLIGHT = new URL("../vendor/highlight/", import.meta.url);
const MOST_CHARACTERS = 20_000;
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
/** The vendored languages, with other names for each. */
const BY_NAME = new Map(
  Object.entries(LANGUAGES).flatMap(([language, names]) => [language, ...names].map((name) => [name, language])),
);
/** Languages inside others. */
const PARTS = { xml: ["css", "javascript"] };

const loaded = new Set();
const loading = new Map();
let highlight = null;

/** Colour a block's `<code>` in a language by one of its names; once that is loaded, all such blocks of the page. */
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
  const names = [language, ...(PARTS[language] ?? [])];
  const [core, ...grammars] = await Promise.all([
    import(new URL("core.min.js", HIGHLIGHT)),
    ...names.map((name) => import(new URL(`languages/${name}.min.js`, HIGHLIGHT))),
  ]);
  highlight = core.default;
  names.forEach((name, place) => highlight.registerLanguage(name, grammars[place].default));
  names.forEach((name) => loaded.add(name));
}

function color(code, language) {
  delete code.dataset.language;
  const text = code.textContent;
  if (text.length > MOST_CHARACTERS) return;
  const { value } = highlight.highlight(text, { language, ignoreIllegals: true });
  code.replaceChildren(DOMPurify.sanitize(value, ALLOWED));
}
