// What there is to begin with.

/** Beginnings of a conversation: the names of their sentences. */
export const BEGINNINGS = ["examples.names", "examples.plan", "examples.explain", "examples.code"];

/** A few examples, and one more to be classified, as the MariTalk Local document has it. */
export const FILM_REVIEWS = {
  prompt: `Classifique a resenha de filme como "positiva" ou "negativa".

Resenha: Gostei muito do filme, é o melhor do ano!
Classe: positiva

Resenha: O filme deixa muito a desejar.
Classe: negativa

Resenha: Foi fantástico, valeu o ingresso..
Classe:`,
  settings: { max_tokens: 2, do_sample: false },
};
