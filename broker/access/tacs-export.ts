/** The same rights as configuration of an existing broker (DESIGN §4): a Mosquitto or an EMQX ACL file. */
import type { RoleTable } from './roles.ts';
import { everyoneReads } from './roles.ts';

export const aclFormats = ['mosquitto', 'emqx'] as const;
export type AclFormat = (typeof aclFormats)[number];

/**
 * @returns an ACL file. Both brokers substitute the common name for the user name, so a service also gets the
 *   subtree below its own name, where nobody else reads or writes.
 */
export function exportAcl(format: AclFormat, roles: RoleTable): string {
  return format === 'mosquitto' ? mosquittoAcl(roles) : emqxAcl(roles);
}

/** mosquitto.conf(5): `pattern` lines hold for every user, `topic` lines for the `user` above them. */
function mosquittoAcl(roles: RoleTable): string {
  const lines = [
    '# Needs in mosquitto.conf: require_certificate true, use_identity_as_username true, allow_anonymous false.',
    '# Mosquitto does not check that a common name is one that its issuer may give: let only one CA issue,',
    '# or put the broker of this package in front.',
    'pattern readwrite %u/#',
    ...everyoneReads.map((filter) => `pattern read ${filter}`),
  ];
  for (const [identity, { publish, subscribe }] of roles) {
    lines.push('', `user ${identity}`);
    for (const filter of publish) {
      lines.push(`topic ${subscribe.includes(filter) ? 'readwrite' : 'write'} ${filter}`);
    }
    for (const filter of subscribe) if (!publish.includes(filter)) lines.push(`topic read ${filter}`);
  }
  return `${lines.join('\n')}\n`;
}

/** EMQX `acl.conf`: Erlang terms, first match wins, `eq` compares a filter without expanding it. */
function emqxAcl(roles: RoleTable): string {
  const lines = [
    '%% Needs: peer_cert_as_username = cn, verify = verify_peer, fail_if_no_peer_cert = true, no_match = deny.',
    '%% EMQX does not check that a common name is one that its issuer may give.',
  ];
  for (const [identity, { publish, subscribe }] of roles) {
    const who = `{user, ${erlangString(identity)}}`;
    if (publish.length > 0) lines.push(`{allow, ${who}, publish, ${erlangList(publish)}}.`);
    if (subscribe.length > 0) lines.push(`{allow, ${who}, subscribe, ${erlangList(subscribe)}}.`);
  }
  lines.push(
    `{allow, all, all, ${erlangList(['${username}/#'])}}.`,
    `{allow, all, subscribe, ${erlangList(everyoneReads)}}.`,
    '{deny, all}.',
  );
  return `${lines.join('\n')}\n`;
}

function erlangList(texts: readonly string[]): string {
  return `[${texts.map(erlangString).join(', ')}]`;
}

function erlangString(text: string): string {
  return `"${text.replace(/["\\]/g, (character) => `\\${character}`)}"`;
}
