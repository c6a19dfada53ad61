/** What our extension and its test call of HiveMQ's Extension SDK, as it is at 4.6: names and signatures alone. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const root = 'com.hivemq.extension.sdk.api';

/** By the class's name below `root`: what stands behind its name, and what it contains. */
const types: Readonly<Record<string, readonly [kind: string, body: string]>> = {
  ExtensionMain: [
    'interface',
    `void extensionStart(${root}.parameter.ExtensionStartInput i, ${root}.parameter.ExtensionStartOutput o);
     void extensionStop(${root}.parameter.ExtensionStopInput i, ${root}.parameter.ExtensionStopOutput o);`,
  ],
  'parameter.ExtensionStartInput': ['interface', ''],
  'parameter.ExtensionStartOutput': ['interface', ''],
  'parameter.ExtensionStopInput': ['interface', ''],
  'parameter.ExtensionStopOutput': ['interface', ''],
  'parameter.ClientBasedInput': [
    'interface',
    `${root}.client.parameter.ConnectionInformation getConnectionInformation();`,
  ],
  'auth.Authenticator': ['interface', ''],
  'auth.Authorizer': ['interface', ''],
  'auth.SimpleAuthenticator': [
    `interface extends Authenticator`,
    `void onConnect(${root}.auth.parameter.SimpleAuthInput i, ${root}.auth.parameter.SimpleAuthOutput o);`,
  ],
  'auth.PublishAuthorizer': [
    'interface extends Authorizer',
    `void authorizePublish(${root}.auth.parameter.PublishAuthorizerInput i, ${root}.auth.parameter.PublishAuthorizerOutput o);`,
  ],
  'auth.SubscriptionAuthorizer': [
    'interface extends Authorizer',
    `void authorizeSubscribe(${root}.auth.parameter.SubscriptionAuthorizerInput i,
       ${root}.auth.parameter.SubscriptionAuthorizerOutput o);`,
  ],
  'auth.parameter.SimpleAuthInput': [`interface extends ${root}.parameter.ClientBasedInput`, ''],
  'auth.parameter.SimpleAuthOutput': [
    'interface',
    `void authenticateSuccessfully();
     void failAuthentication(${root}.packets.connect.ConnackReasonCode code, String reason);`,
  ],
  'auth.parameter.PublishAuthorizerInput': [
    `interface extends ${root}.parameter.ClientBasedInput`,
    `${root}.packets.publish.PublishPacket getPublishPacket();`,
  ],
  'auth.parameter.PublishAuthorizerOutput': [
    'interface',
    `void authorizeSuccessfully();
     void failAuthorization(${root}.packets.publish.AckReasonCode code, String reason);`,
  ],
  'auth.parameter.SubscriptionAuthorizerInput': [
    `interface extends ${root}.parameter.ClientBasedInput`,
    `${root}.packets.subscribe.Subscription getSubscription();`,
  ],
  'auth.parameter.SubscriptionAuthorizerOutput': [
    'interface',
    `void authorizeSuccessfully();
     void failAuthorization(${root}.packets.subscribe.SubackReasonCode code, String reason);`,
  ],
  'auth.parameter.AuthenticatorProviderInput': ['interface', ''],
  'auth.parameter.AuthorizerProviderInput': ['interface', ''],
  'services.auth.provider.AuthenticatorProvider': [
    'interface',
    `${root}.auth.Authenticator getAuthenticator(${root}.auth.parameter.AuthenticatorProviderInput i);`,
  ],
  'services.auth.provider.AuthorizerProvider': [
    'interface',
    `${root}.auth.Authorizer getAuthorizer(${root}.auth.parameter.AuthorizerProviderInput i);`,
  ],
  'services.auth.SecurityRegistry': [
    'interface',
    `void setAuthenticatorProvider(${root}.services.auth.provider.AuthenticatorProvider p);
     void setAuthorizerProvider(${root}.services.auth.provider.AuthorizerProvider p);`,
  ],
  'services.Services': [
    'class',
    `public static ${root}.services.auth.SecurityRegistry securityRegistry() { throw new IllegalStateException(); }`,
  ],
  'client.parameter.ConnectionInformation': [
    'interface',
    `ConnectionAttributeStore getConnectionAttributeStore();
     java.util.Optional<ClientTlsInformation> getClientTlsInformation();`,
  ],
  'client.parameter.ConnectionAttributeStore': [
    'interface',
    'void putAsString(String key, String value); java.util.Optional<String> getAsString(String key);',
  ],
  'client.parameter.ClientTlsInformation': [
    'interface',
    'java.util.Optional<java.security.cert.X509Certificate[]> getClientCertificateChain();',
  ],
  'packets.publish.PublishPacket': ['interface', 'String getTopic();'],
  'packets.subscribe.Subscription': ['interface', 'String getTopicFilter();'],
  'packets.connect.ConnackReasonCode': ['enum', 'NOT_AUTHORIZED'],
  'packets.publish.AckReasonCode': ['enum', 'NOT_AUTHORIZED'],
  'packets.subscribe.SubackReasonCode': ['enum', 'NOT_AUTHORIZED'],
};

/** Writes them as sources below a directory. @returns the files */
export function writeSdk(directory: string): string[] {
  return Object.entries(types).map(([name, [kind, body]]) => {
    const levels = `${root}.${name}`.split('.');
    const file = `${path.join(directory, ...levels)}.java`;
    mkdirSync(path.dirname(file), { recursive: true });
    const [keyword = '', ...inherits] = kind.split(' ');
    const head = `public ${keyword} ${levels.at(-1) ?? ''} ${inherits.join(' ')}`;
    writeFileSync(file, `package ${levels.slice(0, -1).join('.')};\n${head} {\n${body}\n}\n`);
    return file;
  });
}
