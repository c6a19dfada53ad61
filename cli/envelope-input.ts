/** Reads the envelope that a command is given on standard input. */
import { fileEnvelopeBytesMax } from '../cms/limits.ts';

/** Reads no more than the largest envelope and a little, so that a larger one is refused and not stored. */
export async function readEnvelopeBytes(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > fileEnvelopeBytesMax) break;
  }
  return Buffer.concat(chunks);
}
