/** The messages that BouncyCastle and OpenSSL made, and their keys. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Originator } from '../../cms/originator.ts';
import type { RecipientKey } from '../../cms/recipient.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { certificatesFromPem } from '../../pki/certificate.ts';
import { readPrivateKey } from '../../pki/private-key.ts';

export const fixturesFolder = path.resolve(import.meta.dirname, '../../../shared/fixtures');
export const dataFolder = path.resolve(import.meta.dirname, '../../../shared/data');

export interface Fixture {
  readonly id: string;
  readonly file: string;
  readonly group: string;
  readonly curve: string;
  readonly recipients: readonly { readonly name: string; readonly cert: string; readonly key: string }[];
  readonly originatorCert: string | null;
  readonly trustedOriginators: readonly string[];
  readonly plaintextFile: string;
  readonly expect: 'accept' | 'reject' | 'either';
  readonly reason?: string;
}

interface Manifest {
  readonly messages: readonly Fixture[];
}

const manifest = JSON.parse(readFixture('manifest.json').toString()) as Manifest;
export const fixtures = manifest.messages;

export function readFixture(file: string): Buffer {
  return readFileSync(path.join(fixturesFolder, file));
}

const certificates = new Map<string, Certificate>();

export function fixtureCertificate(file: string): Certificate {
  const kept = certificates.get(file);
  if (kept !== undefined) return kept;
  const [certificate] = certificatesFromPem(readFixture(file));
  if (certificate === undefined) throw new Error(`no certificate in ${file}`);
  certificates.set(file, certificate);
  return certificate;
}

export function fixtureOriginator(file: string): Originator {
  const keyAgreement = fixtureCertificate(file);
  return { commonName: keyAgreement.commonName ?? '', keyAgreement };
}

export function fixtureRecipient(recipient: Fixture['recipients'][number]): RecipientKey {
  return { key: readPrivateKey(readFixture(recipient.key)), certificate: fixtureCertificate(recipient.cert) };
}
