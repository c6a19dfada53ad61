/** Which files of Mosquitto's suite do not apply to another broker, and why. */

interface Exclusion {
  readonly files: RegExp;
  readonly reason: string;
}

const exclusions: readonly Exclusion[] = [
  { files: /^06-|^15-persist-bridge/, reason: 'bridges, as Mosquitto configures them; ours is the cascade' },
  { files: /^08-tls-psk/, reason: 'pre-shared keys: an identity here is a certificate' },
  {
    files: /^08-ssl/,
    reason:
      "Mosquitto's TLS options and certificates, whose names follow no tree; ours: test/broker/access/access.test.ts",
  },
  { files: /plugin/, reason: 'plugins' },
  {
    files: /^01-bad-initial-packets/,
    reason:
      'counts the address space of the process, which in a JavaScript engine says nothing; ours: test/broker/connection/limits.fault.test.ts',
  },
  {
    files: /^01-connect-(uname|.*allow-anonymous)/,
    reason: 'user names and passwords: an identity is a certificate',
  },
  { files: /^01-connect-auto-id/, reason: "options for the prefix of the server's client identifiers" },
  { files: /^01-connect-unix-socket/, reason: 'Unix sockets' },
  { files: /^01-connect-accept-protocol/, reason: 'an option that switches protocol versions off' },
  {
    files: /^01-connect-windows-line-endings|^16-/,
    reason: "Mosquitto's configuration file and command line",
  },
  {
    files: /^03-publish-qos1-retain-disabled|^03-publish-bad-flags/,
    reason: 'options that switch retained messages or QoS 2 off',
  },
  {
    files: /^04-retain-check-source|^09-acl|^09-pwfile|^23-/,
    reason: 'access lists and password files: rights follow from the certificate',
  },
  {
    files: /^04-retain-upgrade-outgoing-qos/,
    reason: 'an option against the standard, upgrade_outgoing_qos',
  },
  { files: /^05-session-expiry-kick/, reason: 'plugins' },
  {
    files: /^09-extended-auth/,
    reason: "plugins; enhanced authentication has no method here but the certificate's",
  },
  { files: /^10-listener-mount-point/, reason: 'mount points' },
  { files: /^11-persistence-autosave/, reason: "looks for Mosquitto's own database file" },
  { files: /^13-/, reason: "an option for browsers' origins" },
  { files: /^14-|^17-/, reason: 'the dynamic security plugin and $CONTROL' },
  { files: /^15-/, reason: "looks into the tables of Mosquitto's persistence plugin" },
  { files: /^20-/, reason: 'the Sparkplug plugin' },
  { files: /^21-/, reason: 'the PROXY protocol' },
  { files: /^22-/, reason: "Mosquitto's HTTP API" },
];

/** @returns why a test file does not apply, or undefined */
export function exclusionOf(file: string): string | undefined {
  return exclusions.find(({ files }) => files.test(file))?.reason;
}

interface Choice {
  /** A file, or a sequence by group and name. */
  readonly test: RegExp;
  readonly reason: string;
}

/** What the suite checks and the standard leaves open, where ours chose otherwise. These run all the same. */
const choices: readonly Choice[] = [
  {
    test: /^(02-subpub-qos2-max-inflight-bytes|03-publish-qos2-reuse-mid|12-prop-maximum-packet-size-publish-qos2)|OTHER .* qos2$/,
    reason:
      'expects QoS 2 messages to be routed at PUBREL; ours are at PUBLISH (method B of MQTT 3.1.1 §4.3.3)',
  },
  {
    test: /^07-will-takeover/,
    reason: 'expects no will when a stored session is taken over; [MQTT-3.1.2-8] wants one',
  },
  {
    test: /CONNECT 10 proto ver [26]/,
    reason: 'expects CONNACK 0x84; [MQTT-3.1.2-2] wants 0x01',
  },
  {
    test: /^0[23]-(subpub-qos0|subscribe|publish)-long-topic/,
    reason:
      'expects the end of the connection at too many levels; ours says that this topic is not accepted: 0x80 (MQTT 3.1.1 §3.9.3), 0x8F and 0x90 (MQTT 5 §3.9.3, §3.4.2.1)',
  },
  {
    test: /^v3\.1\.1 CONNECT 10 (incorrect command flags|missing keepalive)$/,
    reason: 'expects no CONNACK; what it sends says MQTT 5, of which §4.13.1 allows one with the reason',
  },
  {
    test: /^11-persistent-subscription-no-local/,
    reason: 'expects a certain packet identifier; any that is not in use will do [MQTT-2.2.1-3]',
  },
  {
    test: /PUBLISH with \$ topic - connection\/state/,
    reason: "expects that clients may write one of Mosquitto's own topics below $SYS",
  },
  {
    test: /FORBIDDEN 0A with illegal length/,
    reason: 'expects the end before the fixed header has come whole',
  },
  {
    test: /PUBLISH 34 QoS 2 Dup flow\*3/,
    reason: 'expects the end at the second repetition of a QoS 2 identifier',
  },
];

/**
 * Malformed packet, protocol error and, in a CONNACK, client identifier not valid. Mosquitto answers 0x82 where MQTT 5
 * wants 0x81 (§2.1.3, §2.2.2.2) and the other way round (§3.3.2.1, §3.8.3.1).
 */
const refusals = /^(?:e0018[12]|2003008[125]00)$/;

/**
 * @param detail - of a sequence: what came and what was expected
 * @returns why a failed test is no fault, or undefined
 */
export function choiceOf(test: string, detail = ''): string | undefined {
  const reason = choices.find((choice) => choice.test.test(test))?.reason;
  if (reason !== undefined) return reason;
  const [, came = ''] = /^rec: ([0-9a-f]*)$/m.exec(detail) ?? [];
  const [, expected = ''] = /^exp: ([0-9a-f]*)$/m.exec(detail) ?? [];
  const isRefusedOtherwise =
    came.slice(0, 4) === expected.slice(0, 4) && refusals.test(came) && refusals.test(expected);
  return isRefusedOtherwise ? 'expects another one of the reason codes 0x81, 0x82 and 0x85' : undefined;
}

/** Options of a configuration that decide it too, where the file's name does not. */
export const optionReasons: Readonly<Record<string, string>> = {
  global_max_clients: 'an option that counts sessions and connections of everybody together',
  max_keepalive:
    'an option that refuses a longer keep-alive; ours closes silent clients earlier, as MQTT 3.1.1 allows',
  message_size_limit: 'an option that acknowledges what it drops; ours bounds the packet',
};
