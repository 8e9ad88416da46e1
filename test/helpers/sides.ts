import type { InputOf, OutputOf } from '../../src/protocol/operations.ts';
import type { PairRole } from '../../src/protocol/pairing.ts';
import type { Machine } from './nodes.ts';
import { isAlive, until } from './process-facts.ts';

type Status = OutputOf<'pair.status'>;

/** One side of a pairing between machines of the real build. */
export class Side {
  readonly machine: Machine;
  readonly role: PairRole;

  constructor(machine: Machine, role: PairRole) {
    this.machine = machine;
    this.role = role;
  }

  async start(): Promise<string> {
    const { inviteCode } = await this.#ask<OutputOf<'pair.start'>>('POST', '/pair/start', {});
    return inviteCode;
  }

  async join(input: InputOf<'pair.join'>): Promise<void> {
    await this.#ask('POST', '/pair/join', input);
  }

  async confirm(confirmed = true): Promise<void> {
    await this.#ask('POST', '/pair/confirm', { confirmed, role: this.role });
  }

  look(more = ''): Promise<Status> {
    return this.#ask<Status>('GET', `/pair/status?role=${this.role}${more}`);
  }

  /** Waits for a state, by the long poll that commands use. */
  async until(isThere: (status: Status) => boolean, limitMs = 12_000): Promise<Status> {
    const endsAt = performance.now() + limitMs;
    let status = await this.look();
    while (!isThere(status)) {
      if (performance.now() > endsAt) throw new Error(`the ${this.role} stays at ${JSON.stringify(status)}`);
      status = await this.look(`&wait=250&since=${status.revision}`);
    }
    return status;
  }

  reaches(...states: Status['state'][]): Promise<Status> {
    return this.until(({ state }) => states.includes(state));
  }

  async peers(): Promise<OutputOf<'peer.list'>['peers']> {
    return (await this.#ask<OutputOf<'peer.list'>>('GET', '/peers')).peers;
  }

  /** Ends whatever pairing and trust there is here. */
  async forget(): Promise<void> {
    await this.machine.fetch('POST', '/pair/confirm', { confirmed: false, role: this.role });
    for (const { nodeId } of await this.peers()) await this.machine.fetch('DELETE', `/peers/${nodeId}`);
  }

  /** kill -9 of its node. */
  async kill(): Promise<void> {
    const { pid } = await this.machine.registration();
    process.kill(pid, 'SIGKILL');
    await until(async () => !(await isAlive(pid)), 5000);
  }

  async #ask<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
    const response = await this.machine.fetch(method, path, body);
    const text = await response.text();
    if (!response.ok) throw new Error(`${this.role}: ${method} ${path}: ${response.status} ${text}`);
    // The caller names the operation whose answer it is.
    return JSON.parse(text) as Answer;
  }
}
