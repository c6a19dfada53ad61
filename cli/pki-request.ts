/** `plombe pki request` and `sign`: a certificate for a key that the authority never sees, such as one on a token. */
import { generateKeyPairSync, KeyObject } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Command, Option } from 'commander';
import type { Authority } from '../pki/authority/authority.ts';
import { certificatesToPem, curveNames } from '../pki/certificate.ts';
import type { CurveName } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import { readPassphrase } from '../pki/identity.ts';
import { inFile } from '../pki/pem-file.ts';
import { privateKeyToPem } from '../pki/private-key.ts';
import { createRequest, requestFromPem, requestToPem } from '../pki/request.ts';
import { createTokenKey, parseTokenUri } from '../pki/token-key.ts';
import { writeFileAtomically } from '../runtime/files.ts';

const kinds = ['tls', 'sig', 'enc'] as const;
type Kind = (typeof kinds)[number];
const secretMode = 0o600;
const dayMs = 24 * 60 * 60 * 1000;

interface RequestOptions {
  readonly kind: Kind;
  readonly token?: string;
  readonly curve: CurveName;
  readonly keyPassphraseFile?: string;
  readonly out: string;
}

export function requestCommand(): Command {
  return new Command('request')
    .description('Makes a key where it is to stay, and a PKCS #10 request for its certificate.')
    .argument('<path>', 'who it is for, such as vendor-snapshot-service')
    .addOption(new Option('--kind <kind>', 'what the key is for').choices(kinds).default('tls'))
    .addOption(new Option('--curve <curve>', 'of the key').choices(curveNames).default('P-256'))
    .option('--token <uri>', 'on a PKCS #11 token, not for enc: pkcs11:token=LABEL?module-path=FILE')
    .option('--key-passphrase-file <file>', "its first line is the token's PIN, or encrypts the key")
    .requiredOption('--out <directory>', 'of the identity: the key, or its URI, and KIND.csr.pem')
    .addHelpText('after', '\nWhoever holds the authority certifies it with `plombe pki sign`.')
    .action((name: string, { kind, token, curve, keyPassphraseFile, out }: RequestOptions) => {
      const file = path.join(out, `${kind}.key.pem`);
      if (existsSync(file)) throw new PkiError('pki.malformed_request', `${file} is there already`);
      if (token !== undefined && kind === 'enc')
        throw new PkiError('pki.token', 'a key for key agreement cannot be on a token');
      const passphrase = readPassphrase(keyPassphraseFile);
      const key =
        token === undefined
          ? generateKeyPairSync('ec', { namedCurve: curve }).privateKey
          : createTokenKey(parseTokenUri(token), passphrase, curve, name);
      const text = key instanceof KeyObject ? privateKeyToPem(key, passphrase) : `${key.uri}\n`;
      writeFileAtomically(file, text, secretMode);
      const request = path.join(out, `${kind}.csr.pem`);
      writeFileAtomically(request, requestToPem({ der: createRequest(name, key) }));
      process.stdout.write(`${name}: ${kind} key in ${file}, request in ${request}\n`);
    });
}

interface AuthorityOptions {
  readonly dir: string;
  readonly passphraseFile?: string;
}

interface SignOptions {
  readonly kind: Kind;
  readonly host?: readonly string[];
  readonly days?: number;
  readonly out: string;
}

/** @param base - with the options of the authority, which `open` reads */
export function signCommand(
  base: Command,
  open: (options: AuthorityOptions) => Authority,
  parseDays: (text: string) => number,
): Command {
  return base
    .description('Certifies a key that is elsewhere: a PKCS #10 request, of `plombe pki request` or OpenSSL.')
    .argument('<request>', 'PEM; its subject is the path, and nothing else that it asks for is heard')
    .addOption(new Option('--kind <kind>', 'what the key is for').choices(kinds).default('tls'))
    .addOption(
      new Option(
        '--host <name>',
        "a broker's DNS name or address, may be given again; its TLS certificate then serves too",
      ).argParser((name: string, names: readonly string[] | undefined) => [...(names ?? []), name]),
    )
    .addOption(new Option('--days <days>', 'lifetime (default: 730)').argParser(parseDays))
    .requiredOption('--out <directory>', 'KIND.crt.pem, KIND.chain.pem and both roots')
    .action(async (file: string, options: SignOptions & AuthorityOptions) => {
      const { kind, host, days, out } = options;
      const { commonName, publicKey } = inFile(file, () => requestFromPem(readFileSync(file)));
      const authority = open(options);
      const [chain = []] = await authority.certify([
        {
          path: commonName,
          kind,
          publicKey,
          ...(host === undefined ? {} : { hosts: host }),
          ...(days === undefined ? {} : { lifetimeMs: days * dayMs }),
        },
      ]);
      writeFileAtomically(path.join(out, 'tls-root.crt.pem'), certificatesToPem([authority.roots.tls]));
      writeFileAtomically(path.join(out, 'e2e-root.crt.pem'), certificatesToPem([authority.roots.e2e]));
      writeFileAtomically(path.join(out, `${kind}.crt.pem`), certificatesToPem(chain.slice(0, 1)));
      writeFileAtomically(path.join(out, `${kind}.chain.pem`), certificatesToPem(chain));
      process.stdout.write(`${commonName}: ${kind} certificate in ${out}\n`);
    });
}
