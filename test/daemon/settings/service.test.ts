import { writeFile } from 'node:fs/promises';

import { describe, expect, it } from 'vitest';

import { nodePaths } from '../../../src/config/paths.ts';
import { openConfigStore } from '../../../src/config/store.ts';
import { settingsHandlers } from '../../../src/daemon/settings/service.ts';
import { systemClock as clock } from '../../../src/kernel/clock.ts';
import { configOutputSchema } from '../../../src/protocol/settings.ts';
import { callOf } from '../call.ts';
import { silentLog } from '../edge/listening.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';

const SECRETS = { owner: 'a'.repeat(64), ci: 'b'.repeat(40), env: 'of a variable' };

const open = async () => {
  const paths = nodePaths(await tempFolder());
  const auth = { apiKey: SECRETS.owner, allowedKeys: { ci: SECRETS.ci } };
  await writeFile(paths.config, JSON.stringify({ version: 2, auth, execution: { env: { TOKEN: SECRETS.env } } }));
  const store = await openConfigStore({ source: { paths }, clock, log: silentLog });
  return { paths, handlers: settingsHandlers(store) };
};

describe('the settings that a caller sees', () => {
  it('are those in force, without a secret', async () => {
    const { paths, handlers } = await open();
    const shown = configOutputSchema.parse(await handlers['config.get']({}, callOf('config.get')));
    expect(shown).toMatchObject({
      file: paths.config,
      restartNeeded: [],
      config: {
        auth: { apiKey: '(hidden)', allowedKeys: { ci: '(hidden)' } },
        execution: { env: { TOKEN: '(hidden)' }, maxConcurrent: 10 },
      },
    });
    for (const secret of Object.values(SECRETS)) expect(JSON.stringify(shown)).not.toContain(secret);
  });

  it('are answered as they are after a change, with what needs a restart', async () => {
    const { handlers } = await open();
    const changes = { 'execution.maxConcurrent': 3, 'server.port': 4711 };
    const shown = configOutputSchema.parse(await handlers['config.change']({ changes }, callOf('config.change')));
    expect(shown).toMatchObject({ restartNeeded: ['server.port'], config: { execution: { maxConcurrent: 3 } } });
  });

  it('never let the owner’s key be changed this way', async () => {
    const { handlers } = await open();
    const change = handlers['config.change']({ changes: { 'auth.apiKey': 'c'.repeat(64) } }, callOf('config.change'));
    await expect(change).rejects.toMatchObject({
      error: 'invalid_request',
      hint: expect.stringContaining('key generate'),
    });
  });
});
