/** Changes a running broker to another configuration in one step, or leaves it as it is. */
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../domain/clock.ts';
import { PkiError } from '../pki/errors.ts';
import type { TlsIdentity } from '../pki/identity.ts';
import type { RevocationIndex } from '../pki/revocation.ts';
import { ConfigError } from '../runtime/config.ts';
import type { Log } from '../runtime/log.ts';
import { keepCrls, refreshCrlFiles } from './access/crl-watch.ts';
import type { BrokerConfig } from './config.ts';
import type { Listener } from './connection/listener.ts';
import { BrokerError } from './errors.ts';
import type { Measures } from './measures.ts';
import { readSettings } from './settings.ts';
import type { LiveSettings, Settings } from './settings.ts';
import type { Supervisor } from './supervisor.ts';

export interface Reloadable {
  readonly settings: LiveSettings;
  readonly revocation: RevocationIndex;
  readonly supervisor: Supervisor;
  readonly listeners: readonly Pick<Listener, 'reload'>[];
  readonly measures: Measures;
  readonly log: Log;
  readonly clock: Clock;
}

/** What a reload can change; the rest decides where the broker listens and what its promises rest on. */
const changes: Readonly<Record<keyof BrokerConfig, 'live' | 'restart'>> = {
  name: 'restart',
  listen: 'restart',
  listenWebSocket: 'restart',
  webSocketOrigins: 'live',
  identity: 'live',
  passphraseFile: 'live',
  data: 'restart',
  processes: 'restart',
  cluster: 'restart',
  durability: 'restart',
  deniedPublish: 'live',
  queueFull: 'live',
  limits: 'live',
  roles: 'live',
  crls: 'live',
  staleCrl: 'live',
  expiredGraceDays: 'live',
  expectedSessions: 'live',
  cascade: 'live',
  observe: 'restart',
  readyNeedsCascade: 'live',
  shutdown: 'live',
  log: 'live',
};
/** Of `limits`, what is told to the system once. */
const fixedLimits: ReadonlySet<string> = new Set(['limits.handshakeSeconds', 'limits.storeBytesMax']);

/**
 * Takes a configuration over and says so in the log; or says why not, a line for each fault, and changes nothing.
 *
 * @param read - reads it, or throws what is wrong with it
 * @returns whether it is in force now
 */
export function reload(read: () => BrokerConfig, broker: Reloadable): boolean {
  const { log, measures } = broker;
  try {
    const changed = apply(read(), broker);
    if (changed.length > 0) log.info({ changed }, 'config.reloaded');
    measures.reloads.inc({ outcome: 'applied' });
    return true;
  } catch (error) {
    for (const fault of faultsOf(error)) log.error(fault, 'config.refused');
    measures.reloads.inc({ outcome: 'refused' });
    return false;
  }
}

/** @returns the names of what is different now */
function apply(next: BrokerConfig, broker: Reloadable): string[] {
  const { settings, revocation, supervisor, listeners, log, clock } = broker;
  const prepared = readSettings(next, clock());
  const changed = changedNames(settings, prepared);
  const fixed = changed.filter((name) => needsRestart(name, next));
  if (fixed.length > 0) {
    throw new BrokerError(
      'broker.needs_restart',
      `cannot change ${fixed.join(', ')} while the broker runs: restart it`,
    );
  }
  const lists = revocation.copy();
  const { updated } = refreshCrlFiles(lists, next.crls ?? [], prepared.identity.roots, log);
  if (updated > 0) changed.push('crls');
  // Nothing fails from here on.
  settings.replaceWith(prepared);
  revocation.replaceWith(lists);
  if (updated > 0) keepCrls(revocation, next.data, log);
  for (const listener of listeners) listener.reload(prepared.identity);
  if (changed.includes('log')) log.level = next.log.level;
  const isCascadeChanged = changed.some((name) => name.startsWith('cascade'));
  supervisor.core?.settingsChanged({ isCascadeChanged });
  return changed;
}

function changedNames(before: Settings, after: Settings): string[] {
  const names = new Set<string>();
  for (const key of Object.keys(changes) as (keyof BrokerConfig)[]) {
    if (isDeepStrictEqual(before.config[key], after.config[key])) continue;
    if (key === 'limits') changedLimits(before.config, after.config).forEach((name) => names.add(name));
    else names.add(key);
  }
  if (isRenewed(before.identity, after.identity)) names.add('identity');
  if (isRenewed(before.cascade?.identity, after.cascade?.identity)) names.add('cascade.identity');
  return [...names];
}

function changedLimits(before: BrokerConfig, after: BrokerConfig): string[] {
  const values = new Map(Object.entries(before.limits));
  return Object.entries(after.limits)
    .filter(([name, value]) => !isDeepStrictEqual(values.get(name), value))
    .map(([name]) => `limits.${name}`);
}

function isRenewed(before: TlsIdentity | undefined, after: TlsIdentity | undefined): boolean {
  return (
    before?.privateKeyPem !== after?.privateKeyPem ||
    before?.chainPem !== after?.chainPem ||
    before?.rootsPem !== after?.rootsPem
  );
}

function needsRestart(name: string, next: BrokerConfig): boolean {
  if (fixedLimits.has(name)) return true;
  // Without it there would be nobody for what waits to go up.
  if (name === 'cascade') return next.cascade === undefined;
  return changes[name as keyof BrokerConfig] === 'restart';
}

/** @throws what is no fault of the configuration */
function faultsOf(error: unknown): object[] {
  if (error instanceof ConfigError) {
    return error.faults.map(({ path, message }) => ({
      reason: error.code,
      ...(path === '' ? {} : { setting: path }),
      detail: message,
    }));
  }
  if (error instanceof BrokerError || error instanceof PkiError) {
    return [{ reason: error.code, detail: error.message }];
  }
  throw error;
}
