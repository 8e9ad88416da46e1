import type { LoopsyError } from '../protocol/errors.ts';
import type { Message } from '../protocol/messages.ts';
import type { MailHand } from './mail-hand.ts';
import { messageLines } from './mail-words.ts';
import type { Output } from './output.ts';

/** One message, as it is printed. */
export const mailText = (mail: Message, { json, paint }: Pick<Output, 'json' | 'paint'>): string =>
  json ? `${JSON.stringify(mail)}\n` : `${messageLines(mail, paint).join('\n')}\n`;

/** Messages that are printed as they are taken; with --json all together are one document, however it ends. */
export class MailList {
  readonly #hand: MailHand;
  readonly #out: Pick<Output, 'json' | 'paint'>;
  #shown = 0;

  constructor(hand: MailHand, out: Pick<Output, 'json' | 'paint'>) {
    this.#hand = hand;
    this.#out = out;
  }

  get isEmpty(): boolean {
    return this.#shown === 0;
  }

  async add(mail: Message): Promise<void> {
    const between = this.#out.json ? (this.isEmpty ? '{"messages":[' : ',') : this.isEmpty ? '' : '\n';
    this.#shown += 1;
    await this.#hand.show(between + (this.#out.json ? JSON.stringify(mail) : mailText(mail, this.#out)));
  }

  async end(code: number): Promise<number> {
    if (this.#out.json) await this.#hand.show(this.isEmpty ? '{"messages":[]}\n' : ']}\n');
    return code;
  }

  /** It ended early: why stands behind what was shown. */
  async fail(error: LoopsyError): Promise<number> {
    await this.#hand.show(`],${JSON.stringify(error.toBody()).slice(1)}\n`);
    return error.exit;
  }
}
