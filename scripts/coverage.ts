/**
 * `npm run coverage [-- FOLDER …]`: which branches of these folders their tests take, as V8 counts them. Default: `cms`
 * and `pki`, which must be covered wholly, but for the branches that are listed here with a reason each.
 */
import { spawnSync } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

interface Exception {
  readonly file: string;
  /** A line of the file, without its indentation. */
  readonly line: string;
  /** Why no test can take one of its branches. */
  readonly why: string;
}

const indexed = 'the index is within; only the type of an element of an array does not say so';
const atLeastOne = '`certificatesFromPem` gives at least one; only its type does not say so';
const noCurve = 'the lint lets no CA have a key on no curve of ours';
const exceptions: readonly Exception[] = [
  { file: 'cms/mqv-engine.ts', line: '/**', why: 'types alone: nothing of it is ever loaded' },
  {
    file: 'pki/der-writer.ts',
    line: 'while (start < octets.length - 1 && octets[start] === 0 && (octets[start + 1] ?? 0) < 0x80) start += 1;',
    why: indexed,
  },
  {
    file: 'cms/commitment.ts',
    line: 'for (let index = 0; index < key.length; index++) octets[index] = pad ^ (key[index] ?? 0);',
    why: indexed,
  },
  {
    file: 'pki/der-writer.ts',
    line: 'for (let index = 0; index < octets.length; index++) target[at + index] = octets[index] ?? 0;',
    why: indexed,
  },
  { file: 'pki/der.ts', line: 'this.tag = bytes[start] ?? 0;', why: indexed },
  {
    file: 'pki/identity.ts',
    line: "if (!certificate) throw new PkiError('pki.malformed_certificate', `${chainFile}: no certificate in it`);",
    why: atLeastOne,
  },
  {
    file: 'pki/authority/store.ts',
    line: "if (certificate === undefined) throw new PkiError('pki.authority_missing', `${path} holds no certificate`);",
    why: atLeastOne,
  },
  {
    file: 'pki/authority/files.ts',
    line: "if (process.platform === 'win32') return;",
    why: 'one of the two on each system',
  },
  {
    file: 'pki/authority/authority.ts',
    line: "return makeKeyPair(pki, curve ?? this.roots[pki].curve ?? 'P-256');",
    why: noCurve,
  },
  {
    file: 'pki/authority/authority.ts',
    line: 'return publicKey === undefined ? [] : [{ ...request, kind, publicKey }];',
    why: indexed,
  },
  {
    file: 'pki/authority/authority.ts',
    line: 'return key === undefined || chain === undefined ? [] : [[kind, { key, chain }]];',
    why: indexed,
  },
  {
    file: 'pki/authority/authority.ts',
    line: 'const names = issuersOf(path) ?? [];',
    why: '`requirePath` refused a path without issuers before',
  },
  {
    file: 'pki/authority/authority.ts',
    line: 'return this.#open(pki, names.at(-1) ?? rootName);',
    why: '`requirePath` refused a path without issuers before',
  },
  {
    file: 'pki/authority/authority.ts',
    line: 'return drafts.map((draft) => chains.get(draft) ?? []);',
    why: indexed,
  },
  {
    file: 'pki/authority/creation.ts',
    line: "const curve = curveIn(pki, above.certificate.curve ?? 'P-256');",
    why: noCurve,
  },
  {
    file: 'pki/authority/creation.ts',
    line: 'const position = authorityBelow(above.position, name) ?? above.position;',
    why: 'the lint refused a name without a position before',
  },
  {
    file: 'pki/authority/issuance.ts',
    line: "const sha256 = certificates[index]?.sha256.toString('hex') ?? '';",
    why: indexed,
  },
  {
    file: 'pki/authority/crl-issuance.ts',
    line: 'throw error;',
    why: 'only PkiErrors are thrown there; what else is would be a fault of ours',
  },
  {
    file: 'pki/pkcs12.ts',
    line: "if (algorithm === undefined) throw new RangeError('SHA-256 is in the table');",
    why: 'it is in the table; only its type does not say so',
  },
  {
    file: 'pki/private-key.ts',
    line: "(encrypted && decryptOurs(encrypted, passphrase ?? '')) ??",
    why: 'an encrypted key without a passphrase was refused before',
  },
  {
    file: 'pki/revocation-lists.ts',
    line: 'if (!(error instanceof PkiError)) throw error;',
    why: 'only PkiErrors are thrown there; what else is would be a fault of ours',
  },
  {
    file: 'pki/token-key.ts',
    line: '} catch (cause) {',
    why: 'a token would have to give a public key that OpenSSL cannot read',
  },
  {
    file: 'pki/token-key.ts',
    line: "const reason = lines.find((line) => line.startsWith('error:')) ?? lines[0] ?? '';",
    why: indexed,
  },
  {
    file: 'pki/token-key.ts',
    line: "throw new PkiError('pki.token', `token ${JSON.stringify(label)} refused ${args[0] ?? ''}: ${reason}`);",
    why: indexed,
  },
  {
    file: 'pki/authority/issuance.ts',
    line: 'authorityKeyIdentifier(above.subjectKeyIdentifier ?? Buffer.alloc(0)),',
    why: 'the lint lets no CA be without a subject key identifier',
  },
];

interface Untaken {
  readonly file: string;
  readonly lineNumber: number;
  readonly line: string;
}

interface Counts {
  taken: number;
  all: number;
}

const root = path.resolve(import.meta.dirname, '..');

function main(folders: readonly string[]): number {
  const files = folders
    .flatMap((folder) => globSync(`test/${folder}/**/*.test.ts`, { cwd: root }))
    .toSorted();
  if (files.length === 0) throw new Error(`no tests for ${folders.join(', ')}`);
  const directory = mkdtempSync(path.join(tmpdir(), 'plombe-coverage-'));
  try {
    // Node's own report merges the processes of the tests so that some branches that no test takes do not appear.
    const { status } = spawnSync(
      process.execPath,
      [
        path.join(root, 'node_modules', 'c8', 'bin', 'c8.js'),
        `--temp-directory=${path.join(directory, 'processes')}`,
        `--reports-dir=${directory}`,
        '--reporter=lcovonly',
        '--all',
        ...folders.flatMap((folder) => [`--src=${folder}`, `--include=${folder}/**/*.ts`]),
        '--exclude=cms/wasm/assembly/**',
        process.execPath,
        '--test',
        '--test-concurrency=2',
        '--test-timeout=600000',
        '--test-reporter=dot',
        ...files,
      ],
      { cwd: root, stdio: 'inherit' },
    );
    const report = path.join(directory, 'lcov.info');
    const isComplete = judge(readFileSync(report, 'utf8'));
    return status === 0 && isComplete ? 0 : 1;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Prints a line for each file and for each branch that no test took. @returns whether all of those are excepted */
function judge(lcov: string): boolean {
  const untaken: Untaken[] = [];
  const totals = { lines: counts(), branches: counts(), functions: counts() };
  for (const record of lcov.split('end_of_record\n').filter((text) => text.includes('SF:'))) {
    const file = valuesOf(record, 'SF')[0] ?? '';
    const lines = readFileSync(path.join(root, file), 'utf8').split('\n');
    const branches = valuesOf(record, 'BRDA').map((text) => text.split(','));
    const open = branches.filter(([, , , taken]) => taken === '0' || taken === '-');
    for (const [lineNumber = ''] of open) {
      const line = lines[Number(lineNumber) - 1]?.trim() ?? '';
      untaken.push({ file, lineNumber: Number(lineNumber), line });
    }
    const own = {
      lines: countsOf(valuesOf(record, 'DA').map((text) => text.split(',')[1] !== '0')),
      branches: { taken: branches.length - open.length, all: branches.length },
      functions: countsOf(valuesOf(record, 'FNDA').map((text) => !text.startsWith('0,'))),
    };
    for (const kind of ['lines', 'branches', 'functions'] as const) {
      totals[kind].taken += own[kind].taken;
      totals[kind].all += own[kind].all;
    }
    console.log(row(file, own));
  }
  console.log(row('all', totals));
  const open = untaken.filter((branch) => exceptionFor(branch) === undefined);
  for (const branch of untaken) {
    const why = exceptionFor(branch)?.why ?? 'NOT TAKEN';
    console.log(`${branch.file}:${branch.lineNumber}: ${why}\n    ${branch.line}`);
  }
  const stale = exceptions.filter(
    ({ file, line }) =>
      lcov.includes(`SF:${file}\n`) && !untaken.some((one) => one.file === file && one.line === line),
  );
  for (const { file, line } of stale)
    console.log(`${file}: listed as not to be taken, and it is:\n    ${line}`);
  console.log(`coverage: ${untaken.length - open.length} branches excepted, ${open.length} not taken`);
  return open.length === 0 && stale.length === 0;
}

function exceptionFor({ file, line }: Untaken): Exception | undefined {
  return exceptions.find((exception) => exception.file === file && exception.line === line);
}

function valuesOf(record: string, key: string): readonly string[] {
  return record
    .split('\n')
    .filter((text) => text.startsWith(`${key}:`))
    .map((text) => text.slice(key.length + 1));
}

function counts(): Counts {
  return { taken: 0, all: 0 };
}

function countsOf(taken: readonly boolean[]): Counts {
  return { taken: taken.filter(Boolean).length, all: taken.length };
}

function row(name: string, kinds: Readonly<Record<'lines' | 'branches' | 'functions', Counts>>): string {
  const cells = Object.entries(kinds).map(([kind, { taken, all }]) => {
    const percent = all === 0 ? 100 : (100 * taken) / all;
    return `${kind} ${percent.toFixed(2).padStart(6)} % of ${String(all).padStart(4)}`;
  });
  return `${name.padEnd(36)}${cells.join('   ')}`;
}

const given = process.argv.slice(2);
process.exitCode = main(given.length > 0 ? given : ['cms', 'pki']);
