/** What a configuration means, for whoever is about to run it: `plombe broker check`. */
import { RevocationIndex } from '../pki/revocation.ts';
import { loadConfig } from '../runtime/config.ts';
import type { Endpoint } from '../runtime/config.ts';
import { loadCrlFiles } from './access/crl-watch.ts';
import { everyoneReads } from './access/roles.ts';
import type { Mapping } from './cascade/topic-map.ts';
import { brokerConfigType } from './config.ts';
import { readSettings } from './settings.ts';
import type { Settings } from './settings.ts';

/**
 * Reads a configuration and all that it names, as a start would; opens no port and no store.
 *
 * @returns what would be in force, in lines
 * @throws ConfigError, PkiError or BrokerError, as a start does
 */
export function checkConfiguration(file: string, nowMs: number): string {
  const settings = readSettings(loadConfig(file, brokerConfigType), nowMs);
  const lists = new RevocationIndex();
  loadCrlFiles(lists, settings.config.crls ?? [], settings.identity.roots);
  const rows = [...places(settings), ...identityOf(settings, lists), ...cascadeOf(settings)];
  return `${[`${file}: no fault`, '', ...table(rows), '', 'rights', ...table(rightsOf(settings))].join('\n')}\n`;
}

type Row = readonly [name: string, value: string];

function places({ config }: Settings): Row[] {
  const { name, listen, listenWebSocket, observe, data, durability } = config;
  return [
    ['name', name],
    ['listen', `${textOf(listen)}, MQTT over TLS`],
    ...(listenWebSocket === undefined
      ? []
      : [['', `${textOf(listenWebSocket)}, MQTT over WebSocket over TLS`] as const]),
    ['observe', observe === undefined ? 'nowhere' : textOf(observe)],
    ['data', `${data}, acknowledged when on ${durability === 'disk' ? 'disk' : "the system's way to it"}`],
  ];
}

function identityOf({ config, identity, verified, stalePolicy }: Settings, lists: RevocationIndex): Row[] {
  const expiresMs = Math.min(...verified.chain.map(({ notAfterMs }) => notAfterMs));
  const roots = identity.roots.map(({ commonName }) => commonName ?? 'a root without a name');
  const stale =
    stalePolicy.action === 'refuse' ? 'refuses whoever has none in time' : 'warns where one is late';
  return [
    ['identity', `${identity.commonName}, in ${config.identity}, until ${new Date(expiresMs).toISOString()}`],
    ['roots', roots.join(', ')],
    [
      'CRLs',
      lists.size === 0 ? 'none until one arrives on vendor/crl/tls' : `of ${lists.size} CAs; ${stale}`,
    ],
  ];
}

function cascadeOf({ config, cascade }: Settings): Row[] {
  if (config.cascade === undefined || cascade === undefined) return [['cascade', 'none']];
  const { up, down, retainDown } = cascade.filters;
  return [
    ['cascade', `as ${cascade.identity.commonName}`],
    ['  up', mapped(up)],
    ['  down', mapped(down)],
    ['  kept here', retainDown.join(', ')],
  ];
}

function mapped(topics: readonly Mapping[]): string {
  return topics
    .map(({ local, remote }) => (local === remote ? local : `${local} (there ${remote})`))
    .join(', ');
}

function rightsOf({ roles }: Settings): Row[] {
  const own = Array.from(roles, ([identity, { publish, subscribe }]): Row[] => [
    [`  ${identity}`, `publishes ${listOf(publish)}`],
    ['', `reads ${listOf(subscribe)}`],
  ]);
  return [
    ['  everyone', 'publishes and reads what is below its own common name'],
    ['', `reads ${listOf(everyoneReads)}`],
    ...own.flat(),
  ];
}

function listOf(filters: readonly string[]): string {
  return filters.length === 0 ? 'nothing else' : filters.join(', ');
}

function textOf({ host, port }: Endpoint): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function table(rows: readonly Row[]): string[] {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`.trimEnd());
}
