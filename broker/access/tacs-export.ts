/** The same rights for an existing broker (DESIGN §4): a Mosquitto or an EMQX ACL file, or an extension of HiveMQ. */
import { hivemqExtension } from './hivemq-extension.ts';
import type { RoleTable } from './roles.ts';
import { everyoneReads } from './roles.ts';
import { areCovered, rightsOf } from './tacs.ts';

export const aclFormats = ['mosquitto', 'emqx', 'hivemq'] as const;
export type AclFormat = (typeof aclFormats)[number];

/**
 * @returns an ACL file; for HiveMQ an extension. Mosquitto and EMQX substitute the common name for the user name, so a
 *   service also gets the subtree below its own name, where nobody else reads or writes.
 */
export function exportAcl(format: AclFormat, roles: RoleTable): string {
  if (format === 'hivemq') return hivemqExtension(roles);
  const [comment, rules] = format === 'mosquitto' ? ['#', mosquittoAcl(roles)] : ['%%', emqxAcl(roles)];
  return `${[...notes[format].map((note) => `${comment} ${note}`), ...rules].join('\n')}\n`;
}

const bothNotes: readonly string[] = [
  'A bootstrap certificate (docs/decisions/0013-enrolment.md) has all rights of its device here, not enrolment alone;',
  'one of a factory (vendor-factory-...) reaches nothing: it is enrolled at a broker of this package.',
];

/** What else has to be set, and what is not the same. */
const notes: Readonly<Record<Exclude<AclFormat, 'hivemq'>, readonly string[]>> = {
  mosquitto: [
    'Needs in mosquitto.conf: require_certificate true, use_identity_as_username true, allow_anonymous false.',
    'Mosquitto does not check that a common name is one that its issuer may give: let only one CA issue,',
    'or put the broker of this package in front.',
    ...bothNotes,
  ],
  emqx: [
    'Needs: mqtt.peer_cert_as_username = cn, or clients say who they are; no listener but with',
    'ssl_options.verify = verify_peer, ssl_options.fail_if_no_peer_cert = true; authorization.no_match = deny.',
    'EMQX 6.3 also needs authorization.topic_template_allow.slash = true, or it puts no name with a slash into a rule.',
    'Before 6.3 it puts in names with + or # too, and there they are wildcards.',
    'EMQX does not check that a common name is one that its issuer may give: let only one CA issue.',
    ...bothNotes,
  ],
};

/** mosquitto.conf(5): `pattern` lines hold for every user, `topic` lines for the `user` above them. */
function mosquittoAcl(roles: RoleTable): string[] {
  const lines = ['pattern readwrite %u/#', ...everyoneReads.map((filter) => `pattern read ${filter}`)];
  for (const [identity, { publish, subscribe }] of roles) {
    lines.push('', `user ${identity}`);
    for (const filter of publish) {
      lines.push(`topic ${subscribe.includes(filter) ? 'readwrite' : 'write'} ${filter}`);
    }
    for (const filter of subscribe) if (!publish.includes(filter)) lines.push(`topic read ${filter}`);
  }
  return lines;
}

/** EMQX `acl.conf`: Erlang terms, first match wins, `eq` compares a filter without expanding it. */
function emqxAcl(roles: RoleTable): string[] {
  const lines: string[] = [];
  for (const [identity, { publish, subscribe }] of roles) {
    const who = `{user, ${erlangString(identity)}}`;
    lines.push(...emqxDenials(identity, roles));
    if (publish.length > 0) lines.push(`{allow, ${who}, publish, ${erlangList(publish)}}.`);
    if (subscribe.length > 0) lines.push(`{allow, ${who}, subscribe, ${erlangList(subscribe)}}.`);
  }
  lines.push(
    `{allow, all, all, ${erlangList(['${username}/#'])}}.`,
    `{allow, all, subscribe, ${erlangList(everyoneReads)}}.`,
    '{deny, all}.',
  );
  return lines;
}

/** A `+` that ends a right also grants a subscription with `#` in its place, for EMQX compares level by level. */
function emqxDenials(identity: string, roles: RoleTable): string[] {
  const rights = rightsOf(identity, 'subscribe', roles) ?? [];
  return (roles.get(identity)?.subscribe ?? [])
    .filter((right) => /(^|\/)\+$/.test(right))
    .map((right) => right.replace(/\+$/, '#'))
    .filter((wider) => !areCovered(rights, wider))
    .map((wider) => {
      const rule = `{deny, {user, ${erlangString(identity)}}, subscribe, [{eq, ${erlangString(wider)}}]}.`;
      if (!wider.includes('+')) return rule;
      return `${rule}\n%% The same with a name in the place of a + cannot be denied: that right is wider in EMQX.`;
    });
}

function erlangList(texts: readonly string[]): string {
  return `[${texts.map(erlangString).join(', ')}]`;
}

function erlangString(text: string): string {
  return `"${text.replace(/["\\]/g, (character) => `\\${character}`)}"`;
}
