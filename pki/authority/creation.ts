/** Makes a CA: a root, or one below another, with its first CRL. */
import { generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { vendorAuthorityName } from '../../domain/namespace.ts';
import type { CurveName } from '../certificate.ts';
import { authorityBelow, rootPosition } from '../discipline.ts';
import { publicKeyOf } from '../signing-key.ts';
import { makeAuthorityKey } from './authority-key.ts';
import { issueCrlOf, writeBundle } from './crl-issuance.ts';
import { makeDirectory } from './files.ts';
import { issueCertificate, issueRoot } from './issuance.ts';
import type { PkiName, ProfileName } from './profiles.ts';
import { ledgerPath, rootName, saveAuthority } from './store.ts';
import type { CertificateAuthority } from './store.ts';

export const rootCommonNames: Readonly<Record<PkiName, string>> = {
  tls: 'Plombe TLS root',
  e2e: 'Plombe E2E root',
};
const tlsCurves: Readonly<Record<CurveName, CurveName>> = {
  'P-256': 'P-256',
  'P-384': 'P-384',
  'P-521': 'P-521',
  brainpoolP256r1: 'P-256',
  brainpoolP384r1: 'P-384',
  brainpoolP512r1: 'P-521',
};

export interface Creation {
  readonly directory: string;
  readonly passphrase: string | undefined;
  readonly nowMs: number;
}

export function createRoot({ directory, passphrase, nowMs }: Creation, pki: PkiName, curve: CurveName): void {
  const ledger = ledgerPath(directory, pki);
  makeDirectory(join(directory, pki));
  const commonName = rootCommonNames[pki];
  const privateKey = makeAuthorityKey(directory, passphrase, curveIn(pki, curve), commonName);
  const publicKey = publicKeyOf(privateKey);
  const certificate = issueRoot({ pki, commonName, publicKey, privateKey }, ledger, nowMs);
  const root = { pki, name: rootName, position: rootPosition, certificate, key: privateKey, chain: [] };
  saveAuthority(directory, root, passphrase);
  issueCrlOf(directory, root, [], { nowMs });
  createIntermediate({ directory, passphrase, nowMs }, root, vendorAuthorityName);
}

export function createIntermediate(
  { directory, passphrase, nowMs }: Creation,
  above: CertificateAuthority,
  name: string,
): void {
  const { pki } = above;
  const curve = curveIn(pki, above.certificate.curve ?? 'P-256');
  const privateKey = makeAuthorityKey(directory, passphrase, curve, `${pki} ${name}`);
  const request = {
    issuer: above,
    profile: authorityProfileOf(name),
    kind: 'ca',
    commonName: name,
    publicKey: publicKeyOf(privateKey),
  } as const;
  const certificate = issueCertificate(request, ledgerPath(directory, pki), nowMs);
  const position = authorityBelow(above.position, name) ?? above.position;
  const authority = {
    pki,
    name,
    position,
    certificate,
    key: privateKey,
    chain: [certificate, ...above.chain],
  };
  saveAuthority(directory, authority, passphrase);
  issueCrlOf(directory, authority, [], { nowMs });
  writeBundle(directory, pki);
}

function authorityProfileOf(name: string): ProfileName {
  if (name === vendorAuthorityName) return 'vendor-authority';
  return name.includes('/') ? 'account-authority' : 'master-account-authority';
}

/** On the curve, or in the TLS PKI on the NIST curve of its size. */
export function makeKeyPair(pki: PkiName, curve: CurveName): { privateKey: KeyObject; publicKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: curveIn(pki, curve) });
}

function curveIn(pki: PkiName, curve: CurveName): CurveName {
  return pki === 'tls' ? tlsCurves[curve] : curve;
}
