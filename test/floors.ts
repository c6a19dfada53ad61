/** Who may import whom: the architecture as a table. `floors.test.ts` enforces it. */

/** Programs meet in `domain/` and on the network, never in each other's code. */
export const floors: Readonly<Record<string, readonly string[]>> = {
  domain: [],
  runtime: ['domain'],
  pki: ['domain', 'runtime'],
  cms: ['domain', 'pki'],
  mqtt: ['domain', 'runtime', 'pki'],
  // What a device and whoever certifies it have in common.
  enrolment: ['domain', 'runtime', 'pki', 'cms', 'mqtt'],
  database: ['domain', 'runtime'],
  // A broker carries and cannot read: `cms` never appears in this line.
  broker: ['domain', 'runtime', 'pki', 'mqtt'],
  registrar: ['domain', 'runtime', 'pki', 'cms', 'mqtt', 'enrolment'],
  'device-agent': ['domain', 'runtime', 'pki', 'cms', 'mqtt', 'enrolment'],
  auditor: ['domain', 'runtime', 'pki', 'cms', 'mqtt'],
  backend: ['domain', 'runtime', 'pki', 'cms', 'mqtt', 'database'],
  bpm: ['domain', 'runtime', 'database'],
  dashboard: ['domain'],
  cli: [
    'domain',
    'runtime',
    'pki',
    'cms',
    'mqtt',
    'enrolment',
    'database',
    'broker',
    'registrar',
    'device-agent',
    'auditor',
    'backend',
    'bpm',
  ],
};
