/** What does a program say that cannot start? One clear line for each fault, never a stack, and exit status 1. */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { TestContext } from 'node:test';
import { writeConfigs } from '../../cli/deployment/configs.ts';
import type { DeploymentFiles } from '../../cli/deployment/configs.ts';
import { makeKeys } from '../../cli/deployment/keys.ts';
import type { Authority } from '../../pki/authority/authority.ts';
import type { IssueRequest } from '../../pki/authority/requests.ts';
import { openAuthority } from '../../pki/authority/authority.ts';
import { startPlombe } from './process.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'plombe-refusals-'));
const device = 'ms-acc-1/acc-1/dev-1';
const patienceMs = 120_000;
const halfAnHourMs = 30 * 60 * 1000;
let authority: Authority;
let files: DeploymentFiles;

before(async () => {
  const broker = { listen: '127.0.0.1:0', address: '127.0.0.1:1', hosts: ['127.0.0.1'] };
  const plan = {
    directory,
    vendor: { broker, http: '127.0.0.1:0', database: 'sqlite:./data/plombe.db' },
    customers: [
      {
        masterAccount: 'ms-acc-1',
        broker,
        auditor: {},
        agents: [
          {
            name: 'agent',
            devices: [
              {
                kind: 'simulator',
                path: device,
                type: 'FM',
                condition: 'healthy',
                intervalMs: 1000,
                seed: 1,
              },
            ],
          },
        ],
      },
    ],
  } as const;
  authority = await makeKeys(plan);
  files = writeConfigs(plan);
});

after(() => rmSync(directory, { recursive: true, force: true }));

interface Program {
  readonly name: 'broker' | 'agent' | 'backend' | 'bpm' | 'registrar' | 'auditor';
  readonly config: () => string;
  /** The setting that names its keys, as the file has it. */
  readonly identity?: string;
  readonly identityOf?: string;
  /** Which of its keys the test spoils; the others are read in the same way. */
  readonly spoilt?: 'tls' | 'sig' | 'enc';
}

const programs: readonly Program[] = [
  {
    name: 'broker',
    config: () => files.vendorBroker,
    identity: './identities/vendor-broker',
    identityOf: 'vendor-broker',
    spoilt: 'tls',
  },
  {
    name: 'agent',
    config: () => files.customers[0]?.agents[0] ?? '',
    identity: './identities/devices/acc-1/dev-1',
    identityOf: device,
    spoilt: 'sig',
  },
  {
    name: 'backend',
    config: () => files.backend,
    identity: './identities/vendor-snapshot-service',
    identityOf: 'vendor-snapshot-service',
    spoilt: 'enc',
  },
  { name: 'bpm', config: () => files.bpm },
  {
    name: 'registrar',
    config: () => files.registrar,
    identity: './identities/vendor-enrolment-service',
    identityOf: 'vendor-enrolment-service',
    spoilt: 'sig',
  },
  {
    name: 'auditor',
    config: () => files.customers[0]?.auditor ?? '',
    identity: './identities/auditor',
    identityOf: 'ms-acc-1',
    spoilt: 'sig',
  },
];
const withKeys = programs.flatMap(({ identity, identityOf, spoilt, ...program }) =>
  identity === undefined || identityOf === undefined || spoilt === undefined
    ? []
    : [{ ...program, identity, identityOf, spoilt }],
);

/** A variant of a program's configuration, beside it, so that its paths still lead somewhere. */
function variant(context: TestContext, program: Program, change: (text: string) => string): string {
  const original = readFileSync(program.config(), 'utf8');
  const text = change(original);
  assert.notEqual(text, original, 'the configuration was changed');
  const file = path.join(
    path.dirname(program.config()),
    `variant-${Math.random().toString(36).slice(2)}.yaml`,
  );
  writeFileSync(file, text);
  context.after(() => rmSync(file, { force: true }));
  return file;
}

/** @returns what it wrote on stderr, after the program's name, without the line end */
async function refusal(context: TestContext, { name }: Program, file: string): Promise<string> {
  const running = startPlombe([name, '--config', file]);
  const impatience = setTimeout(() => running.process.kill('SIGKILL'), patienceMs);
  context.after(() => running.process.kill('SIGKILL'));
  const { status, stdout, stderr } = await running.finished;
  clearTimeout(impatience);
  assert.equal(status, 1, `${name} ends with 1: ${stderr}${stdout}`);
  assert.doesNotMatch(stderr, /\n\s+at /, 'no stack');
  assert.ok(stderr.startsWith(`plombe ${name}: `) && stderr.endsWith('\n'), stderr);
  return stderr.slice(`plombe ${name}: `.length, -1);
}

async function oneLine(context: TestContext, program: Program, file: string, says: RegExp): Promise<void> {
  const text = await refusal(context, program, file);
  assert.doesNotMatch(text, /\n/, 'one line');
  assert.match(text, says);
}

/** A copy of a program's keys that the test may spoil, and a configuration that names it. */
async function spoiltKeys(
  context: TestContext,
  program: (typeof withKeys)[number],
  spoil: (copy: string) => unknown,
  passphraseFile?: string,
): Promise<string> {
  const folder = path.dirname(program.config());
  const copy = path.join(folder, `keys-${Math.random().toString(36).slice(2)}`);
  cpSync(path.join(folder, program.identity), copy, { recursive: true });
  context.after(() => rmSync(copy, { recursive: true, force: true }));
  const file = variant(context, program, (text) =>
    text.replace(
      new RegExp(`^( *(?:- )?)identity: ${program.identity.replaceAll('.', '\\.')}$`, 'm'),
      (_, indent: string) =>
        `${indent}identity: ${copy}${passphraseFile === undefined ? '' : `\n${indent.replace('-', ' ')}passphraseFile: ${passphraseFile}`}`,
    ),
  );
  await spoil(copy);
  return file;
}

const manyFaults: Readonly<Record<Program['name'], readonly (readonly [RegExp, string, string])[]>> = {
  broker: [
    [/^listen: .*$/m, 'listen: nowhere', 'listen: wanted host:port, got "nowhere"'],
    [/^identity: .*$/m, 'identity: ./nowhere', 'identity: no such file: '],
    [/^durability: .*$/m, 'durability: perhaps', 'durability: Invalid option'],
    [
      /subscriptions: \[.*?,/,
      'subscriptions: ["a/#/b",',
      'expectedSessions[0].subscriptions[0]: not a topic',
    ],
    [
      /$/,
      'cascade: { upstreem: "a:1", brokerName: b, upstream: "a:1" }\n',
      'cascade.upstreem: no such setting',
    ],
  ],
  agent: [
    [/^broker: .*$/m, 'broker: nowhere', 'broker: wanted host:port, got "nowhere"'],
    [/$/, 'brokername: ms-acc-1\n', 'brokername: no such setting'],
    [/^drainSeconds: .*$/m, 'drainSeconds: -1', 'drainSeconds: '],
    [/intervalMs: \d+/, 'intervalMs: often', 'devices[0].collector.intervalMs: '],
    [/issuers\/\S*$/m, 'issuers/nobody', 'commandIssuers[0]: no such file: '],
  ],
  backend: [
    [/^database: .*$/m, 'database: postgres://db', 'database: wanted sqlite:FILE or mysql://…'],
    [/^ {2}listen: .*$/m, '  listen: 8080', 'http.listen: '],
    [/^identity: .*$/m, 'identity: ./nowhere', 'identity: no such file: '],
    [/$/, 'log: { level: loud }\n', 'log.level: '],
    [/$/, 'allowunsigned: true\n', 'allowunsigned: no such setting'],
  ],
  bpm: [
    [/^database: .*$/m, 'database: 3', 'database: '],
    [
      /$/,
      'mail: { smtp: "http://mail", from: nobody, to: [] }\n',
      'mail.smtp: wanted an smtp:// or smtps:// URL',
    ],
    [/$/, '', 'mail.from: is no mail address'],
    [/$/, '', 'mail.to: '],
    [/$/, 'rulez: ./rules\n', 'rulez: no such setting'],
  ],
  registrar: [
    [/^broker: .*$/m, 'broker: nowhere', 'broker: wanted host:port, got "nowhere"'],
    [/^authority: .*$/m, 'authority: ./nowhere', 'authority: no such file: '],
    [/^crlDays: .*$/m, 'crlDays: never', 'crlDays: '],
    [/$/, 'crldays: 3\n', 'crldays: no such setting'],
  ],
  auditor: [
    [/^broker: .*$/m, 'broker: nowhere', 'broker: wanted host:port, got "nowhere"'],
    [/^recipients:$/m, 'recipients:\n  - ./recipients/nobody.pem', 'recipients[0]: no such file: '],
    [/$/, 'certificatesWaitSeconds: forever\n', 'certificatesWaitSeconds: '],
    [/$/, 'wait: 3\n', 'wait: no such setting'],
  ],
};

for (const program of programs) {
  const { name } = program;

  test(`plombe ${name}: every fault of a configuration at once, each with the path of its key`, async (context) => {
    const faults = manyFaults[name];
    const file = variant(context, program, (text) =>
      faults.reduce((changed, [from, to]) => changed.replace(from, () => to), text),
    );
    const [first, ...lines] = (await refusal(context, program, file)).split('\n');
    assert.equal(first, `${file}: ${faults.length} faults`);
    for (const [, , wanted] of faults) {
      assert.ok(
        lines.some((line) => line.startsWith(`  ${wanted}`)),
        `${wanted} is among ${lines.join('\n')}`,
      );
    }
    assert.equal(lines.length, faults.length, lines.join('\n'));
  });

  test(`plombe ${name}: one mistyped key, or a line that is no YAML, is one line`, async (context) => {
    const mistyped = variant(context, program, (text) => `${text}obsreve: 127.0.0.1:0\n`);
    await oneLine(context, program, mistyped, /variant-\w+\.yaml: obsreve: no such setting$/);
    const broken = variant(context, program, (text) => `a: "b\n${text}`);
    await oneLine(context, program, broken, /variant-\w+\.yaml: line \d+, column \d+: /);
  });

  test(`plombe ${name}: no configuration there is one line`, async (context) => {
    const missing = path.join(directory, 'none.yaml');
    await oneLine(context, program, missing, /none\.yaml: cannot read it: no such file$/);
  });

  test(`plombe ${name}: an address in use is one line`, async (context) => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    context.after(() => server.close());
    const taken = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const says = new RegExp(`^cannot listen ${taken}: the address is in use$`);
    const observed = variant(context, program, (text) => `${text}observe: ${taken}\n`);
    await oneLine(context, program, observed, says);
    if (name !== 'broker' && name !== 'backend') return;
    const listening = variant(context, program, (text) =>
      text.replace('listen: 127.0.0.1:0', `listen: ${taken}`),
    );
    await oneLine(context, program, listening, says);
  });

  test(`plombe ${name}: data where none can be is one line`, async (context) => {
    const inTheWay = path.join(directory, 'a-file');
    writeFileSync(inTheWay, 'not a folder, and no database');
    const elsewhere = variant(context, program, (text) =>
      text
        .replace(/^data: .*$/m, `data: ${inTheWay}/data`)
        .replace(/^database: .*$/m, `database: sqlite:${inTheWay}/data/plombe.db`),
    );
    await oneLine(
      context,
      program,
      elsewhere,
      /a-file\/data.*: what should be a folder on the way there is a file$/,
    );
  });
}

for (const program of withKeys) {
  const { name, identityOf, spoilt } = program;
  const issue = (copy: string, request: Partial<IssueRequest>, issuer = authority): Promise<unknown> =>
    issuer.issue({
      path: identityOf,
      kinds: [spoilt],
      outputDirectory: copy,
      ...(name === 'broker' ? { hosts: ['127.0.0.1'] } : {}),
      ...request,
    });

  test(`plombe ${name}: a missing key is one line`, async (context) => {
    const missing = `${spoilt}.key.pem`;
    const file = await spoiltKeys(context, program, (copy) => rmSync(path.join(copy, missing)));
    await oneLine(context, program, file, new RegExp(`/keys-\\w+/${missing}: cannot read it: no such file$`));
  });

  // An agent asks for new certificates instead (test/device-agent/key-slots/).
  if (name !== 'agent') {
    test(`plombe ${name}: an expired certificate is one line`, async (context) => {
      const thenMs = Date.now() - halfAnHourMs;
      const then = openAuthority({ directory: authority.directory, clock: () => thenMs });
      const file = await spoiltKeys(context, program, (copy) => issue(copy, { lifetimeMs: 60_000 }, then));
      const says = new RegExp(
        `/keys-\\w+/${spoilt}.chain.pem: the certificate expired on \\d{4}-\\d\\d-\\d\\dT`,
      );
      await oneLine(context, program, file, says);
    });
  }

  test(`plombe ${name}: no password for a key, or a wrong one, is one line`, async (context) => {
    const encrypt = (copy: string): Promise<unknown> => issue(copy, { passphrase: 'correct horse' });
    const without = await spoiltKeys(context, program, encrypt);
    const noneGiven = new RegExp(`/${spoilt}.key.pem: .*it is encrypted and no passphrase was given$`);
    await oneLine(context, program, without, noneGiven);
    const passphraseFile = path.join(directory, 'passphrase');
    writeFileSync(passphraseFile, 'battery staple\n');
    const wrong = await spoiltKeys(context, program, encrypt, passphraseFile);
    await oneLine(
      context,
      program,
      wrong,
      new RegExp(`/${spoilt}.key.pem: .*the passphrase does not open it$`),
    );
  });

  test(`plombe ${name}: a key that is not the certificate's is one line`, async (context) => {
    const other = path.join(directory, 'other-keys');
    await authority.issue({ path: 'ms-acc-1/acc-1/dev-9', kinds: [spoilt], outputDirectory: other });
    const file = await spoiltKeys(context, program, (copy) =>
      cpSync(path.join(other, `${spoilt}.key.pem`), path.join(copy, `${spoilt}.key.pem`)),
    );
    const says = new RegExp(
      `/${spoilt}.key.pem: the key is not the one that .*/${spoilt}.chain.pem certifies$`,
    );
    await oneLine(context, program, file, says);
  });
}
