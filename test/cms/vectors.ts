/** The test vectors of `docs/wire.md`: one envelope each, with everything that it was made from. Octets in hexadecimal. */
import { createPrivateKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Random } from '../../cms/random.ts';
import type { ContentType } from '../../cms/envelope-info.ts';
import type { KemKey } from '../../cms/hybrid.ts';
import type { SealContext } from '../../cms/seal.ts';
import type { SealFormat } from '../../cms/seal-format.ts';
import { derElement, derInteger, derOctetString, derSequence } from '../../pki/der-writer.ts';
import { parseCertificate } from '../../pki/certificate.ts';
import type { Certificate, CurveName } from '../../pki/certificate.ts';

export interface Vector {
  readonly about: string;
  readonly curve: CurveName;
  readonly format: SealFormat;
  readonly originator: {
    readonly encKey: string;
    readonly encCertificate: string;
    readonly sigKey?: string;
    readonly sigCertificate?: string;
  };
  readonly recipient: {
    readonly encKey: string;
    readonly encCertificate: string;
    /** d ‖ z of FIPS 203. */
    readonly kemSeed?: string;
    readonly kemCertificate?: string;
  };
  readonly context: {
    readonly topic: string;
    readonly sequence: number;
    readonly previousDigest: string | null;
    readonly contentType: ContentType;
    readonly signingTimeMs: number;
  };
  readonly content: string;
  readonly nonce: string;
  readonly contentKey: string;
  /** e and E. */
  readonly ephemeralKey: string;
  readonly ephemeralPoint: string;
  readonly z: string;
  /** What the key-encryption key is derived from besides the secret. */
  readonly info: string;
  readonly kem?: { readonly ciphertext: string; readonly sharedKey: string };
  readonly kek: string;
  readonly wrappedKey: string;
  readonly commitment: string | null;
  /** GCM's additional data. */
  readonly attributes: string;
  readonly ciphertext: string;
  readonly tag: string;
  readonly authEnvelopedData: string;
  readonly digest: string;
  /** The ContentInfo; of a signed one, the signature is one of many. */
  readonly envelope: string;
}

export const vectorsFolder = path.resolve(import.meta.dirname, '../vectors/cms');

export const vectors: ReadonlyMap<string, Vector> = new Map(
  readdirSync(vectorsFolder)
    .filter((file) => file.endsWith('.json'))
    .map((file) => [
      path.basename(file, '.json'),
      JSON.parse(readFileSync(path.join(vectorsFolder, file), 'utf8')) as Vector,
    ]),
);

/** An EC key with its certificate. @param scalar - as long as the field */
export function certified(scalar: string, certificate: string): { key: KeyObject; certificate: Certificate } {
  const parsed = parseCertificate(Buffer.from(certificate, 'hex'));
  const { curve, publicPoint } = parsed;
  if (curve === undefined || publicPoint === undefined) throw new Error('not a key on a curve');
  const half = (publicPoint.length + 1) / 2;
  const text = (octets: Buffer) => octets.toString('base64url');
  const jwk = {
    kty: 'EC',
    crv: curve,
    d: text(Buffer.from(scalar, 'hex')),
    x: text(publicPoint.subarray(1, half)),
    y: text(publicPoint.subarray(half)),
  };
  return { key: createPrivateKey({ key: jwk, format: 'jwk' }), certificate: parsed };
}

/** An ML-KEM-768 key from its seed: PKCS #8 as RFC 9935 §6 has it. */
export function kemOf(seed: string, certificate: string): KemKey {
  const algorithm = derSequence(Buffer.from('0609608648016503040402', 'hex')); // id-alg-ml-kem-768
  const der = derSequence(
    derInteger(0),
    algorithm,
    derOctetString(derElement(0x80, Buffer.from(seed, 'hex'))),
  );
  return {
    key: createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }),
    certificate: parseCertificate(Buffer.from(certificate, 'hex')),
  };
}

export function contextOfVector({ context }: Vector): SealContext {
  const { previousDigest } = context;
  return {
    ...context,
    previousDigest: previousDigest === null ? undefined : Buffer.from(previousDigest, 'hex'),
  };
}

/** What a sealer draws, octet after octet in this order. */
export function randomOf({ nonce, contentKey, ephemeralKey }: Vector): Random {
  const octets = Buffer.from(nonce + contentKey + ephemeralKey, 'hex');
  let drawn = 0;
  return (bytes) => {
    if (drawn + bytes > octets.length) throw new Error(`a draw of ${bytes} octets, and there are fewer left`);
    drawn += bytes;
    return Buffer.from(octets.subarray(drawn - bytes, drawn));
  };
}
