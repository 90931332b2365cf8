// Example prompts.

/** Suggestions for the first message: keys of strings.json. */
export const SUGGESTIONS = ["examples.names", "examples.plan", "examples.explain", "examples.code"];

/** Suggestions for the demo model, which only knows English, with its answers without sampling on any processor. */
export const DEMO_SUGGESTIONS = [
  { question: "What is the capital of Japan?", answer: "The capital of Japan is Tokyo." },
  { question: "Name three fruits.", answer: "1. Bananas 2. Oranges 3. Grapes" },
  { question: "Name three cities in Italy.", answer: "1. Rome, Italy 2. Florence, Italy 3. Venice, Italy" },
  { question: "How many days are in a week?", answer: "A week is approximately 7 days." },
];

const settings = { max_tokens: 2, do_sample: false };

/** The few-shot example of the MariTalk Local document. */
export const FILM_REVIEWS = {
  prompt: `Classifique a resenha de filme como "positiva" ou "negativa".

Resenha: Gostei muito do filme, é o melhor do ano!
Classe: positiva

Resenha: O filme deixa muito a desejar.
Classe: negativa

Resenha: Foi fantástico, valeu o ingresso..
Classe:`,
  settings,
};

/** The same in English. The demo model continues it with `answer`. */
export const DEMO_FILM_REVIEWS = {
  prompt: `Classify the film review as "positive" or "negative".

Review: I liked the film a lot, it is the best of the year!
Class: positive

Review: The film leaves much to be desired.
Class: negative

Review: It was fantastic, well worth the ticket.
Class:`,
  settings,
  answer: "positive",
};
