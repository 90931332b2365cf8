// Programs that ask this server what the page asks it.

const NO_KEY = "-";
const PLACE_OF_THE_KEY = "YOUR_KEY";
const PORTS = { "http:": 80, "https:": 443 };

/** Where the server is, as the page sees it: an address that ends with `/`. */
const ROOT = new URL("../../", import.meta.url);

/** Programs by the name of a tab. `question` is what they ask `model`; `hasKey`: the server wants an API key. */
export function snippets({ model, question, hasKey }) {
  const key = hasKey ? PLACE_OF_THE_KEY : NO_KEY;
  const all = { curl: curlCommand(model, question, hasKey), openai: openaiProgram(model, question, key) };
  // MariTalkLocal sends no key, and takes a host and a port alone.
  if (!hasKey && ROOT.protocol === "http:" && ROOT.pathname === "/") return { ...all, maritalk: localProgram(question) };
  return { ...all, maritalk: cloudProgram(model, question, key) };
}

function curlCommand(model, question, hasKey) {
  const body = JSON.stringify({ model, messages: [{ role: "user", content: question }], max_tokens: 200 });
  const lines = [`curl ${ROOT}v1/chat/completions`, "-H 'Content-Type: application/json'"];
  if (hasKey) lines.push(`-H 'Authorization: Bearer ${PLACE_OF_THE_KEY}'`);
  // A shell's text in quotes has no quote inside: it is ended, followed by a quote in double quotes, and begun again.
  return [...lines, `-d '${body.replaceAll("'", `'"'"'`)}'`].join(" \\\n  ");
}

function openaiProgram(model, question, key) {
  return `import openai

client = openai.OpenAI(base_url="${ROOT}v1", api_key="${key}")
answer = client.chat.completions.create(
    model=${text(model)},
    messages=[{"role": "user", "content": ${text(question)}}],
    max_tokens=200,
)
print(answer.choices[0].message.content)
`;
}

function localProgram(question) {
  return `import maritalk

client = maritalk.MariTalkLocal(host="${ROOT.hostname}", port=${ROOT.port || PORTS[ROOT.protocol]})
print(client.generate(${text(question)}, max_tokens=200)["output"])
`;
}

function cloudProgram(model, question, key) {
  return `import maritalk

client = maritalk.MariTalk(key="${key}", model=${text(model)}, api_url="${ROOT}api")
print(client.generate(${text(question)}, max_tokens=200)["answer"])
`;
}

/** A text in quotes: Python reads JSON's notation. */
const text = (value) => JSON.stringify(value);
