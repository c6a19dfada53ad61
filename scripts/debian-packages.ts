/** Installs what tests and benches need beyond npm: real servers and clients that nobody here wrote, from Debian. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

interface Requirement {
  readonly file: string;
  readonly package: string;
  readonly why: string;
}

const debianArchitecture = process.arch === 'arm64' ? 'aarch64' : 'x86_64';
const pkcs11Engine = `/usr/lib/${debianArchitecture}-linux-gnu/engines-3/pkcs11.so`;

const requirements: readonly Requirement[] = [
  { file: '/usr/sbin/mariadbd', package: 'mariadb-server', why: 'the database by URL' },
  { file: '/usr/bin/redis-server', package: 'redis-server', why: 'what several broker nodes share' },
  { file: '/usr/bin/mosquitto_pub', package: 'mosquitto-clients', why: 'MQTT clients not of our making' },
  { file: '/usr/sbin/mosquitto', package: 'mosquitto', why: 'a broker not of our making' },
  { file: '/usr/bin/chromium', package: 'chromium', why: 'a browser for the dashboard' },
  { file: '/usr/bin/openssl', package: 'openssl', why: 'certificates and envelopes not of our making' },
  { file: '/usr/bin/gcc', package: 'gcc', why: 'disks that fail when told to' },
  { file: '/usr/include/stdlib.h', package: 'libc6-dev', why: 'what gcc compiles against' },
  { file: '/usr/bin/javac', package: 'default-jdk-headless', why: 'Java for BouncyCastle' },
  { file: '/usr/share/java/bcprov.jar', package: 'libbcprov-java', why: 'envelopes not of our making' },
  { file: '/usr/share/java/bcpkix.jar', package: 'libbcpkix-java', why: 'their CMS' },
  { file: '/usr/bin/pk12util', package: 'libnss3-tools', why: 'key files as Firefox reads and writes them' },
  { file: '/usr/bin/softhsm2-util', package: 'softhsm2', why: 'a PKCS #11 token' },
  { file: '/usr/bin/pkcs11-tool', package: 'opensc', why: 'PKCS #11 from the command line' },
  { file: pkcs11Engine, package: 'libengine-pkcs11-openssl', why: 'TLS with keys on a token' },
];

/**
 * Installs what is missing; does nothing where all is there.
 *
 * @param wanted - packages; all by default
 * @throws Error with the command to run by hand, where this process may not install or the installation fails
 */
export function requireDebianPackages(wanted?: readonly string[]): void {
  const missing = requirements.filter(
    ({ file, package: name }) => wanted?.includes(name) !== false && !existsSync(file),
  );
  if (missing.length === 0) return;
  const packages = missing.map((one) => one.package);
  const byHand = `apt-get install --no-install-recommends ${packages.join(' ')}`;
  console.error(`installing: ${missing.map((one) => `${one.package} (${one.why})`).join(', ')}`);
  if (!existsSync('/usr/bin/apt-get')) {
    throw new Error(`missing: ${packages.join(', ')}; this is not a Debian system: install them by hand`);
  }
  if (process.getuid?.() !== 0) {
    throw new Error(`missing: ${packages.join(', ')}; only root may install them. Run: sudo ${byHand}`);
  }
  aptGet(['update', '-q'], byHand);
  aptGet(['install', '-y', '-q', '--no-install-recommends', ...packages], byHand);
}

function aptGet(args: readonly string[], byHand: string): void {
  const { status, stdout, stderr } = spawnSync('apt-get', args, {
    encoding: 'utf8',
    // RUNLEVEL=1 keeps a package from starting its own server: the tests start theirs, on private ports.
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
  });
  if (status !== 0) throw new Error(`apt-get ${args[0]} failed; run by hand: ${byHand}\n${stdout}${stderr}`);
}
