/** A text file as it comes, plain or gzip, in pieces. */
import { open } from 'node:fs/promises';
import { createReadStream } from 'node:fs';
import type { ZlibOptions } from 'node:zlib';
import { createGunzip } from 'node:zlib';
import { describeSystemError } from '../../runtime/config.ts';
import { CollectorError } from './collector.ts';

const gzipMagic = Buffer.of(0x1f, 0x8b); // RFC 1952 §2.3.1

/**
 * Reads a file as UTF-8 text; a byte order mark is left out, bytes that are no UTF-8 become U+FFFD.
 * Whether it is compressed is told by its first bytes, not by its name.
 *
 * @throws CollectorError `collector.truncated` or `collector.damaged`, after all text that came before; `collector.unreadable`
 */
export async function* readTextFile(file: string): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder('utf-8');
  let bytes: AsyncIterable<Buffer>;
  try {
    bytes = (await isGzip(file)) ? gunzipped(file) : createReadStream(file);
  } catch (cause) {
    throw new CollectorError('collector.unreadable', `cannot read ${file}: ${describeSystemError(cause)}`, {
      cause,
    });
  }
  try {
    for await (const piece of bytes) yield decoder.decode(piece, { stream: true });
  } catch (cause) {
    throw translated(file, cause);
  }
  const rest = decoder.decode();
  if (rest !== '') yield rest;
}

async function isGzip(file: string): Promise<boolean> {
  const handle = await open(file);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(2), 0, 2, 0);
    return bytesRead === 2 && buffer.equals(gzipMagic);
  } finally {
    await handle.close();
  }
}

function gunzipped(file: string): AsyncIterable<Buffer> {
  const source = createReadStream(file);
  // A stream drops what it still holds when it fails. With a high-water mark of one byte it goes on only when
  // the reader has taken everything, so a truncated file loses none of the text before the cut.
  const options: ZlibOptions & { readableHighWaterMark: number } = { readableHighWaterMark: 1 };
  const gunzip = createGunzip(options);
  source.on('error', (error) => gunzip.destroy(error));
  gunzip.on('close', () => source.destroy());
  source.pipe(gunzip);
  return gunzip;
}

function translated(file: string, cause: unknown): CollectorError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  if (code === 'Z_BUF_ERROR') {
    return new CollectorError('collector.truncated', `${file} ends before its compressed data does`, {
      cause,
    });
  }
  if (typeof code === 'string' && code.startsWith('Z_')) {
    return new CollectorError('collector.damaged', `${file} does not decompress`, { cause });
  }
  return new CollectorError('collector.unreadable', `cannot read ${file}: ${describeSystemError(cause)}`, {
    cause,
  });
}
