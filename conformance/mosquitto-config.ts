/** What of a Mosquitto configuration our broker can be told too (mosquitto.conf(5)). */

export interface Translation {
  readonly ports: readonly number[];
  /** Of our broker's configuration. */
  readonly limits: Readonly<Record<string, number>>;
  /** Where Mosquitto would keep its state over a restart; undefined: nowhere. */
  readonly persistence: string | undefined;
  /** Options that have no counterpart, so a test that sets them does not apply. */
  readonly untranslatable: readonly string[];
}

/** They say how Mosquitto logs and saves, or what our broker does anyway. */
const ignored = new Set([
  'autosave_interval',
  'autosave_on_changes',
  'enable_control_api',
  'log_dest',
  'log_timestamp',
  'log_type',
  'max_inflight_bytes',
  'per_listener_settings',
  'sys_interval',
  'user',
]);

const limitNames: Readonly<Record<string, readonly string[]>> = {
  max_connections: ['connectionsMax'],
  global_max_connections: ['connectionsMax'],
  max_inflight_messages: ['inFlightMax', 'incomingQos2Max'],
  max_packet_size: ['packetBytesMax'],
  max_queued_bytes: ['queuedBytesMax', 'memoryQueuedBytesMax'],
  max_queued_messages: ['queuedMessagesMax', 'memoryQueuedMessagesMax'],
};

/** Those whose one value is what our broker does; with the other value a test does not apply. */
const fixed: Readonly<Record<string, string>> = {
  allow_anonymous: 'true',
  allow_zero_length_clientid: 'true',
  check_retain_source: 'false',
  protocol: 'mqtt',
  retain_available: 'true',
  upgrade_outgoing_qos: 'false',
};

/** What Mosquitto does unless told otherwise, and tells MQTT 5 clients. */
const defaultLimits = {
  inFlightMax: 20,
  incomingQos2Max: 20,
  packetBytesMax: 2_000_000,
  topicAliasMax: 10,
  sessionExpiryDays: 50_000,
};

/** @param options - one to a line, as in the file; a repeated one counts again */
export function translateConfig(
  options: readonly (readonly [key: string, value: string])[],
  version: 3 | 5,
): Translation {
  const ports: number[] = [];
  const limits: Record<string, number> = { ...defaultLimits };
  const untranslatable = new Set<string>();
  let persistence: string | undefined;
  for (const [key, value] of options) {
    const wanted = fixed[key];
    if (key === 'listener' || key === 'port') ports.push(Number(value.split(/\s+/)[0]));
    else if (key === 'persistence') persistence ??= value === 'true' ? 'mosquitto.db' : undefined;
    else if (key === 'persistence_file' || key === 'persistence_location') persistence = value;
    else if (limitNames[key] !== undefined) for (const name of limitNames[key]) limits[name] = Number(value);
    // With MQTT 5 the server tells the client; before, Mosquitto refuses it.
    else if (key === 'max_keepalive' && version === 5) limits['keepAliveSecondsMax'] = Number(value);
    else if (wanted !== undefined ? wanted !== value : !ignored.has(key)) untranslatable.add(key);
  }
  // A listener with the port 0 is a Unix socket, or none.
  if (ports.some((port) => !(port > 0))) untranslatable.add('listener 0');
  return {
    ports: ports.filter((port) => port > 0),
    limits,
    persistence,
    untranslatable: [...untranslatable],
  };
}

/** @returns the options of a configuration file, comments and empty lines left out */
export function readOptions(text: string): [key: string, value: string][] {
  return text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [key = '', ...rest] = line.split(/\s+/);
      return [key, rest.join(' ')];
    });
}
