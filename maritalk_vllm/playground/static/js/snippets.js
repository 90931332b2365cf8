// Example programs that send a question to this server.

const NO_KEY = "-";
const KEY_PLACEHOLDER = "YOUR_KEY";
const PORTS = { "http:": 80, "https:": 443 };

/** The server's URL as the browser sees it, with `/` at the end. */
const ROOT = new URL("../../", import.meta.url);

/** Programs, by the name of their tab, that send `question` to `model`. `hasKey`: the server requires an API key. */
export function snippets({ model, question, hasKey }) {
  const key = hasKey ? KEY_PLACEHOLDER : NO_KEY;
  const all = { curl: curlCommand(model, question, hasKey), openai: openaiProgram(model, question, key) };
  // MariTalkLocal sends no key, and accepts only a host and a port.
  if (!hasKey && ROOT.protocol === "http:" && ROOT.pathname === "/") return { ...all, maritalk: localProgram(question) };
  return { ...all, maritalk: cloudProgram(model, question, key) };
}

function curlCommand(model, question, hasKey) {
  const body = JSON.stringify({ model, messages: [{ role: "user", content: question }], max_tokens: 200 });
  const lines = [`curl ${ROOT}v1/chat/completions`, "-H 'Content-Type: application/json'"];
  if (hasKey) lines.push(`-H 'Authorization: Bearer ${KEY_PLACEHOLDER}'`);
  // A shell's single-quoted text cannot contain a single quote: close it, add the quote in double quotes, and reopen it.
  return [...lines, `-d '${body.replaceAll("'", `'"'"'`)}'`].join(" \\\n  ");
}

function openaiProgram(model, question, key) {
  return `import openai

client = openai.OpenAI(base_url="${ROOT}v1", api_key="${key}")
answer = client.chat.completions.create(
    model=${literal(model)},
    messages=[{"role": "user", "content": ${literal(question)}}],
    max_tokens=200,
)
print(answer.choices[0].message.content)
`;
}

function localProgram(question) {
  return `import maritalk

client = maritalk.MariTalkLocal(host="${ROOT.hostname}", port=${ROOT.port || PORTS[ROOT.protocol]})
print(client.generate(${literal(question)}, max_tokens=200)["output"])
`;
}

function cloudProgram(model, question, key) {
  return `import maritalk

client = maritalk.MariTalk(key="${key}", model=${literal(model)}, api_url="${ROOT}api")
print(client.generate(${literal(question)}, max_tokens=200)["answer"])
`;
}

/** A Python string literal: JSON's are valid in Python. */
const literal = (value) => JSON.stringify(value);
