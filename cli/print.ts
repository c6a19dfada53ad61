/** What a command says, on stdout. */

/** @param text - without the end of its last line */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
