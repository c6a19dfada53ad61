/** PEM armour (RFC 7468). */

const block = /-----BEGIN ([A-Z0-9 ]+)-----\r?\n([A-Za-z0-9+/=\s]*?)-----END ([A-Z0-9 ]+)-----/g;
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/**
 * The contents of every block with that label, in file order. Text between the blocks is ignored.
 *
 * @returns undefined if there is none, one is not base64, or there are more than `countMax`
 */
export function pemBlocks(pem: string | Uint8Array, label: string, countMax: number): Buffer[] | undefined {
  const text = typeof pem === 'string' ? pem : Buffer.from(pem).toString('latin1');
  const found: Buffer[] = [];
  for (const [, begin, body = '', end] of text.matchAll(block)) {
    if (begin !== label) continue;
    const packed = body.replaceAll(/\s/g, '');
    if (end !== label || found.length === countMax || packed === '' || !base64.test(packed)) return undefined;
    found.push(Buffer.from(packed, 'base64'));
  }
  // A block that begins and was cut off must not vanish silently.
  const begun = text.split(`-----BEGIN ${label}-----`).length - 1;
  return found.length > 0 && found.length === begun ? found : undefined;
}

export function pemOf(label: string, der: Uint8Array): string {
  const lines = Buffer.from(der)
    .toString('base64')
    .replaceAll(/.{64}(?!$)/g, '$&\n');
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}
