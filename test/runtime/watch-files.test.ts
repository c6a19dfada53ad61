import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { watchFiles } from '../../runtime/watch-files.ts';

test('watchFiles: a change counts once it has settled, a file that comes or goes too, and nothing after the end', (context) => {
  context.mock.timers.enable({ apis: ['setInterval'] });
  const directory = mkdtempSync(path.join(tmpdir(), 'plombe-watch-'));
  try {
    const [first, second] = [path.join(directory, 'a'), path.join(directory, 'b')];
    writeFileSync(first, 'one');
    let changes = 0;
    const end = watchFiles(
      () => [first, second],
      () => changes++,
      1000,
    );
    const look = (): number => {
      context.mock.timers.tick(1000);
      return changes;
    };
    assert.equal(look(), 0);
    writeFileSync(first, 'longer');
    assert.equal(look(), 0, 'somebody may still be writing');
    writeFileSync(first, 'longer still');
    assert.equal(look(), 0, 'and was');
    assert.equal(look(), 1);
    assert.equal(look(), 1);
    writeFileSync(second, 'new');
    look();
    assert.equal(look(), 2);
    rmSync(second);
    look();
    assert.equal(look(), 3);
    end();
    writeFileSync(first, 'after the end');
    look();
    assert.equal(look(), 3);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
