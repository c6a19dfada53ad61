/** What a device publishes retained at `M/A/E/certificates`, so that its envelopes need not carry its chain. */
import { decode, encode, rfc8949EncodeOptions } from 'cborg';
import { chainLengthMax } from './limits.ts';

export interface DeviceCertificates {
  /** DER, leaf first, without the root. */
  readonly signature: readonly Uint8Array[];
  /** DER, leaf first, without the root. */
  readonly keyAgreement: readonly Uint8Array[];
}

const certificateBytesMax = 8 * 1024;

export class DeviceCertificatesError extends Error {
  override readonly name = 'DeviceCertificatesError';
  readonly code = 'certificates.malformed';
}

export function encodeDeviceCertificates(certificates: DeviceCertificates): Uint8Array {
  return encode({ sig: certificates.signature, enc: certificates.keyAgreement }, rfc8949EncodeOptions);
}

/** Checks the shape alone: whether the chains are to be trusted is for `pki/path.ts` to say. @throws DeviceCertificatesError */
export function decodeDeviceCertificates(payload: Uint8Array): DeviceCertificates {
  let decoded: unknown;
  try {
    decoded = decode(payload, { rejectDuplicateMapKeys: true, allowUndefined: false });
  } catch (cause) {
    throw new DeviceCertificatesError('payload is not CBOR', { cause });
  }
  if (typeof decoded !== 'object' || decoded === null)
    throw new DeviceCertificatesError('payload is not a map');
  const { sig, enc } = Object.fromEntries(Object.entries(decoded));
  return { signature: requireChain('sig', sig), keyAgreement: requireChain('enc', enc) };
}

function requireChain(name: string, value: unknown): Uint8Array[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > chainLengthMax) {
    throw new DeviceCertificatesError(`"${name}" is not a chain of 1 to ${chainLengthMax} certificates`);
  }
  return value.map((item: unknown) => {
    if (!(item instanceof Uint8Array) || item.length > certificateBytesMax) {
      throw new DeviceCertificatesError(`"${name}" has an element that is no certificate`);
    }
    return item;
  });
}
