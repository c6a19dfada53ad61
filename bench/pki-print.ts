/** Lines of the bench of the PKI: what, the figure, and whether it reaches its goal. */

export function perSecond(rate: number): string {
  return `${Math.round(rate)}/s`;
}

export function milliseconds(rate: number): string {
  return `${(1000 / rate).toFixed(2)} ms`;
}

export function print(
  what: string,
  figure: string,
  goal?: { readonly text: string; readonly isReached: boolean },
): void {
  const verdict = goal === undefined ? '' : `   goal ${goal.text}: ${goal.isReached ? 'reached' : 'MISSED'}`;
  console.log(`${what.padEnd(66)} ${figure.padStart(12)}${verdict}`);
}
