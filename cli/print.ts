/** What a command says, on stdout. */

/** @param text - without the end of its last line */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** @returns it without control characters, which a terminal would obey */
export function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '�');
}
