/** Who may import whom: the architecture as a table. `floors.test.ts` enforces it. */

/** Programs meet in `domain/` and on the network, never in each other's code. */
export const floors: Readonly<Record<string, readonly string[]>> = {
  domain: [],
  runtime: ['domain'],
  pki: ['domain', 'runtime'],
  cms: ['domain', 'pki'],
  mqtt: ['domain', 'runtime', 'pki'],
  // What was audited, and what proves it; whoever holds a head of it reads it too.
  ledger: ['domain', 'runtime', 'pki', 'cms'],
  // What a device and whoever certifies it have in common.
  enrolment: ['domain', 'runtime', 'pki', 'cms', 'mqtt'],
  // What whoever obeys a policy and whoever signs it have in common.
  policy: ['domain', 'runtime', 'pki', 'cms'],
  database: ['domain', 'runtime'],
  // What programs that serve pages have in common: logins, files, errors.
  web: ['domain', 'runtime'],
  // A broker carries and cannot read: `cms` never appears in this line.
  broker: ['domain', 'runtime', 'pki', 'mqtt'],
  registrar: ['domain', 'runtime', 'pki', 'cms', 'mqtt', 'enrolment'],
  'device-agent': ['domain', 'runtime', 'pki', 'cms', 'mqtt', 'enrolment', 'policy'],
  auditor: ['domain', 'runtime', 'pki', 'cms', 'mqtt', 'ledger', 'policy', 'web'],
  backend: ['domain', 'runtime', 'pki', 'cms', 'mqtt', 'ledger', 'database', 'web'],
  bpm: ['domain', 'runtime', 'database'],
  dashboard: ['domain'],
  cli: [
    'domain',
    'runtime',
    'pki',
    'cms',
    'mqtt',
    'enrolment',
    'policy',
    'ledger',
    'database',
    'web',
    'broker',
    'registrar',
    'device-agent',
    'auditor',
    'backend',
    'bpm',
  ],
};
