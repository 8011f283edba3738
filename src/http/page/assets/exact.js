// Parses JSON without loss: a whole number that JavaScript would round stays text.

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** Parses JSON; whole numbers of more than 53 bits become strings. */
export function exact(text) {
  return JSON.parse(
    text.replace(TOKEN, (token) =>
      /^-?\d{16,}$/.test(token) && !Number.isSafeInteger(Number(token)) ? `"${token}"` : token,
    ),
  );
}
