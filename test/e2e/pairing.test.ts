import { afterEach, describe, expect, it } from 'vitest';

import { finished, Machine } from '../helpers/nodes.ts';
import { verifies } from '../requirements.ts';

const machines: Machine[] = [];

const machine = async (name: string): Promise<Machine> => {
  const made = await Machine.create(name);
  machines.push(made);
  return made;
};

/** Begins `pair` on a machine, and waits for the first line that it prints with --json. */
const shown = async (host: Machine, args: readonly string[]) => {
  const child = host.spawn(['pair', '--json', ...args]);
  const end = finished(child);
  const line = await new Promise<string>((resolve) => {
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const [first = '', ...more] = text.split('\n');
      if (more.length > 0) resolve(first);
    });
  });
  return { child, end, code: (JSON.parse(line) as { inviteCode: string }).inviteCode };
};

const portOf = async (of: Machine): Promise<number> => (await of.registration()).port;

afterEach(async () => {
  await Promise.all(machines.splice(0).map((one) => one.remove()));
});

describe('loopsy pair, as scripts use it', () => {
  it(
    verifies(
      'pair.by-invitation',
      'by an invitation: both say paired, both run commands on the other at once, with nothing restarted',
    ),
    async () => {
      const [host, joiner] = await Promise.all([machine('maria'), machine('kai')]);
      const { code, end } = await shown(host, ['--invite']);
      const joined = await joiner.run(['pair', `127.0.0.1:${await portOf(host)}`, '--code', code, '--yes']);
      expect(joined).toMatchObject({ code: 0, stderr: '' });
      expect(joined.stdout).toContain('Paired with maria');
      expect(await end).toMatchObject({ code: 0, stdout: expect.stringContaining('"completed"') });
      for (const [from, to] of [
        [host, 'kai'],
        [joiner, 'maria'],
      ] as const) {
        expect(await from.run(['exec', to, 'echo', 'hello'])).toMatchObject({ code: 0, stdout: 'hello\n' });
      }
    },
  );

  it('by digits with --yes on both sides, which says what protected it', async () => {
    const [host, joiner] = await Promise.all([machine('maria'), machine('kai')]);
    const { code, end } = await shown(host, ['--yes']);
    expect(code).toMatch(/^\d{6}$/);
    const joined = await joiner.run(['pair', `127.0.0.1:${await portOf(host)}`, '--code', code, '--yes']);
    expect(joined).toMatchObject({ code: 0, stderr: expect.stringContaining('the code alone was the protection') });
    expect((await end).code).toBe(0);
  });

  it('a wrong code and Ctrl-C each have their text and their exit code, and leave nothing', async () => {
    const [host, joiner] = await Promise.all([machine('maria'), machine('kai')]);
    const { code, child, end } = await shown(host, ['--yes']);
    const other = `${code.startsWith('1') ? '2' : '1'}${code.slice(1)}`;
    const at = `127.0.0.1:${await portOf(host)}`;
    const wrong = await joiner.run(['pair', at, '--code', other, '--yes']);
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining('wrong code') });
    child.kill('SIGINT');
    expect(await end).toMatchObject({ code: 1, stderr: expect.stringContaining('nothing was trusted') });
    const late = await joiner.run(['pair', at, '--code', code, '--yes']);
    expect(late).toMatchObject({ code: 1, stderr: expect.stringContaining('no pairing is open there') });
    expect((await joiner.json<{ peers: unknown[] }>(['peers'])).peers).toEqual([]);
  });

  it(verifies('pair.crash', 'kill -9 of the host behind its yes: both are paired once it is back'), async () => {
    const [host, joiner] = await Promise.all([machine('maria'), machine('kai')]);
    const read = async (response: Promise<Response>) => (await (await response).json()) as Record<string, unknown>;
    const look = (of: Machine, more = '') => read(of.fetch('GET', `/pair/status${more}`));
    const post = (of: Machine, step: string, body: unknown) => read(of.fetch('POST', `/pair/${step}`, body));
    const reaches = async (of: Machine, state: string): Promise<void> => {
      let status = await look(of);
      for (let left = 30; status['state'] !== state; left -= 1) {
        if (left === 0) throw new Error(`it stays at ${JSON.stringify(status)}`);
        status = await look(of, `?wait=500&since=${String(status['revision'])}`);
      }
    };
    const { inviteCode } = await post(host, 'start', {});
    await post(joiner, 'join', { address: '127.0.0.1', port: await portOf(host), code: inviteCode });
    await Promise.all([reaches(host, 'confirm'), reaches(joiner, 'confirm')]);
    await post(host, 'confirm', { confirmed: true });
    process.kill((await host.registration()).pid, 'SIGKILL');
    await post(joiner, 'confirm', { confirmed: true });
    await host.start();
    await Promise.all([reaches(host, 'completed'), reaches(joiner, 'completed')]);
    expect(await host.run(['exec', 'kai', 'echo', 'hello'])).toMatchObject({ code: 0, stdout: 'hello\n' });
    expect(await joiner.run(['exec', 'maria', 'echo', 'hello'])).toMatchObject({ code: 0, stdout: 'hello\n' });
  });
});
