import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { CLI, environment, Machine } from '../helpers/nodes.ts';
import { NO_TERMINAL, Terminal } from '../helpers/terminal.ts';
import { verifies } from '../requirements.ts';

const machines: Machine[] = [];

const machine = async (name: string): Promise<Machine> => {
  const made = await Machine.create(name);
  machines.push(made);
  return made;
};

const at = (of: Machine, ...args: string[]): Terminal =>
  new Terminal([process.execPath, CLI, ...args].join(' '), { env: { ...environment(of.home), NO_COLOR: undefined } });

const CTRL_C = '\u0003';
const QUESTION = /Is the number there the same, and do you trust \S+\?/;
const SAS = /Both screens must show:\s+(\d{3} \d{3})/;

const addressOf = async (of: Machine): Promise<string> => `127.0.0.1:${(await of.registration()).port}`;

/** Both people, with the question before each. */
const compared = async (hostArgs: string[] = []): Promise<[host: Terminal, joiner: Terminal, Machine, Machine]> => {
  const [one, other] = await Promise.all([machine('maria'), machine('kai')]);
  return [...(await meet([one, other], hostArgs)), one, other];
};

const meet = async (
  [one, other]: readonly [Machine, Machine],
  hostArgs: string[] = [],
): Promise<[host: Terminal, joiner: Terminal]> => {
  const host = at(one, 'pair', ...hostArgs);
  const [, code = ''] = await host.shows(/│ {3}((?:\d ){3} {2}(?:\d ){2}\d) {3}│/);
  const joiner = at(other, 'pair', await addressOf(one));
  await joiner.shows(/The code that the other machine shows/);
  // As it is read: in two groups.
  joiner.type(`${code.replaceAll(/(\d) (\d) (\d)/g, '$1$2$3').replaceAll(/ +/g, ' ')}\r`);
  await Promise.all([host.shows(QUESTION), joiner.shows(QUESTION)]);
  return [host, joiner];
};

beforeEach(({ skip }) => {
  if (NO_TERMINAL !== undefined) skip(NO_TERMINAL);
});

afterEach(async () => {
  await Promise.all(machines.splice(0).map((one) => one.remove()));
});

describe('two people who pair their machines at two terminals', () => {
  it(
    verifies(
      'pair.terminal',
      'read the code, type it, compare one number, learn what a yes allows, say yes, and run commands at once',
    ),
    async () => {
      const [host, joiner, one] = await compared();
      const [[, there], [, here]] = [await host.shows(SAS), await joiner.shows(SAS)];
      expect(here).toBe(there);
      for (const screen of [host.screen, joiner.screen])
        expect(screen).toMatch(
          /With your yes it may run any command as \S+: it can do anything that you can do here\./,
        );
      expect(host.screen).toMatch(/The other machine is kai \([a-z2-7]{8}, at 127\.0\.0\.1\)/);
      joiner.type('y');
      await joiner.shows(/Waiting for maria to say yes\./);
      expect(joiner.screen).not.toContain('Paired');
      host.type('y');
      expect(await Promise.all([host.ended(), joiner.ended()])).toEqual([0, 0]);
      expect(host.screen).toContain('Paired with kai.');
      expect(joiner.screen).toContain('Paired with maria.');
      expect(await one.run(['exec', 'kai', 'echo', 'hello'])).toMatchObject({ code: 0, stdout: 'hello\n' });
    },
  );

  it('Enter alone means no: each screen says who said it, and nothing is trusted', async () => {
    const [host, joiner, ...both] = await compared();
    host.type('y');
    await host.shows(/Waiting for kai to say yes\./);
    joiner.type('\r');
    expect(await Promise.all([host.ended(), joiner.ended()])).toEqual([1, 1]);
    expect(joiner.screen).toContain('you said no: nothing was trusted');
    expect(host.screen).toContain('the other side said no');
    for (const one of both) expect((await one.json<{ peers: unknown[] }>(['peers'])).peers).toEqual([]);
  });

  it('Ctrl-C at the question is a no, and takes the question back on the other screen', async () => {
    const [host, joiner, ...both] = await compared();
    joiner.type(CTRL_C);
    expect(await joiner.ended()).toBe(1);
    expect(joiner.screen).toContain('Cancelled: nothing was trusted.');
    expect(await host.ended()).toBe(1);
    expect(host.screen).toContain('the other side said no');
    for (const one of both) expect((await one.json<{ peers: unknown[] }>(['peers'])).peers).toEqual([]);
  });

  it('Ctrl-C while the code is shown ends it, and so does leaving where it is asked for', async () => {
    const one = await machine('maria');
    const host = at(one, 'pair');
    await host.shows(/Waiting for 5 minutes; Ctrl-C ends it\./);
    expect(host.screen).toContain('No other machine can reach this node');
    const joiner = at(one, 'pair', '127.0.0.1');
    await joiner.shows(/The code that the other machine shows/);
    joiner.type(CTRL_C);
    expect(await joiner.ended()).toBe(1);
    expect(joiner.screen).toContain('Nothing was changed.');
    host.type(CTRL_C);
    expect(await host.ended()).toBe(1);
    expect(host.screen).toContain('Cancelled: nothing was trusted.');
  });

  it('a terminal that was closed leaves no pairing out of reach: the next command goes on with it', async () => {
    const [one, other] = await Promise.all([machine('maria'), machine('kai')]);
    const lost = at(one, 'pair', '--grant', 'observe');
    await lost.shows(/Waiting for 5 minutes/);
    lost.kill();
    await lost.ended();
    const code = await codeOf(one);
    expect((await one.run(['pair', '--yes'])).stderr).toContain('a pairing is open already');
    const host = at(one, 'pair');
    await host.shows(/A pairing is open here already/);
    await host.shows(new RegExp(code.split('').join(' +')));
    const joiner = at(other, 'pair', await addressOf(one), '--code', code);
    await joiner.shows(QUESTION);
    joiner.kill();
    await joiner.ended();
    const again = at(other, 'pair', await addressOf(one), '--code', code);
    await Promise.all([host.shows(/may see the state of this node/), again.shows(QUESTION)]);
    host.type('y');
    again.type('y');
    expect(await Promise.all([host.ended(), again.ended()])).toEqual([0, 0]);
    expect(await one.json(['peers', 'show', 'kai'])).toMatchObject({ grant: { level: 'observe' } });
  });

  it('a name that another machine has is asked about: no keeps both, yes drops the old trust', async () => {
    const one = await machine('maria');
    const [old, second, third] = await Promise.all([machine('kai'), machine('kai'), machine('kai')]);
    const pair = async (other: Machine, answers: (host: Terminal) => Promise<void>): Promise<string> => {
      const code = await inviteFrom(other);
      const joiner = at(one, 'pair', await addressOf(other), '--code', code);
      await answers(joiner);
      await joiner.shows(/Do you trust kai\?/);
      expect(joiner.screen).toContain('there is no number to compare');
      joiner.type('y');
      expect(await joiner.ended()).toBe(0);
      return joiner.screen;
    };
    await pair(old, async () => undefined);
    const kept = await pair(second, async (joiner) => {
      await joiner.shows(/Replace the old kai\?/);
      joiner.type('n');
    });
    expect(kept).toContain('Another machine is called kai here');
    expect(kept).toContain('Paired with kai-2.');
    const replaced = await pair(third, async (joiner) => {
      await joiner.shows(/Replace the old kai\?/);
      joiner.type('y');
    });
    expect(replaced).toContain('Paired with kai.');
    const { peers } = await one.json<{ peers: { name: string; nodeId: string }[] }>(['peers']);
    expect(new Map(peers.map(({ name, nodeId }) => [name, nodeId]))).toEqual(
      new Map([
        ['kai', (await third.registration()).nodeId],
        ['kai-2', (await second.registration()).nodeId],
      ]),
    );
  });
});

/** The code that a machine shows. */
const codeOf = async (of: Machine): Promise<string> => {
  const answer = await of.fetch('GET', '/pair/status?role=host');
  return ((await answer.json()) as { inviteCode: string }).inviteCode;
};

/** An invitation of a machine, which goes on waiting for its guest. */
const inviteFrom = async (of: Machine): Promise<string> => {
  const answer = await of.fetch('POST', '/pair/start', { invite: true });
  return ((await answer.json()) as { inviteCode: string }).inviteCode;
};
