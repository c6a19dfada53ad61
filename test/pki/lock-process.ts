/** Holds the lock of the authority in argv[2] until it is killed; with argv[3], issues to that name and revokes, ten times. */
import { openAuthority } from '../../pki/authority/authority.ts';
import { withLock } from '../../pki/authority/lock.ts';

const [, , directory = '', path] = process.argv;
if (path === undefined) {
  withLock(directory, () => {
    process.stdout.write('held\n');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  });
} else {
  const authority = openAuthority({ directory });
  for (let count = 0; count < 10; count++) {
    await authority.issue({ path, kinds: ['tls'], outputDirectory: `${directory}/${path}` });
    await authority.revoke({ target: { path } });
  }
}
