import type { Word } from './pairing-crypto.ts';

/** Where a pairing stands once both screens show the number. `pending` and `trusted` are on disk. */
export type Stage = 'compare' | 'pending' | 'trusted' | 'settled' | 'refused' | 'expired';

/**
 * What is to be done on disk before anything else happens: keep the own yes; make the trust, in one transaction with
 * the record; drop the record; take the trust back, in one transaction with the record.
 */
type EffectKind = 'store' | 'trust' | 'forget' | 'untrust';

/** One side's decision: plain values, so that a search can go through all of them. */
export interface Decision {
  readonly stage: Stage;
  /** Under way, and where it leads. */
  readonly due?: { readonly effect: EffectKind; readonly to: Stage };
  /** What the person here said. */
  readonly said?: 'yes' | 'no';
  /** What the other side's tokens said, in any order and number. */
  readonly heard: readonly Word[];
  /** True once a record may be on disk: a write that failed may have been one. */
  readonly dirty: boolean;
  /** True once its time is over. */
  readonly late: boolean;
}

/** What can happen. `contact`: the other machine's pinned key asked or answered as one that trusts this machine. */
export type DecisionEvent = Word | 'say-yes' | 'say-no' | 'contact' | 'late' | 'done' | 'failed' | 'again';

/** How it begins: nobody said anything. */
export const COMPARE: Decision = { stage: 'compare', heard: [], dirty: false, late: false };

/** How it goes on after a restart, from what the record says. */
export const resumedAt = (stage: 'pending' | 'trusted'): Decision => ({
  stage,
  said: 'yes',
  heard: [],
  dirty: true,
  late: false,
});

/** True where nothing more will happen. */
export const isOver = ({ stage }: Decision): boolean =>
  stage === 'settled' || stage === 'refused' || stage === 'expired';

const leave = (decision: Decision, to: 'refused' | 'expired' | 'settled'): Decision =>
  decision.dirty ? { ...decision, due: { effect: 'forget', to } } : { ...decision, stage: to };

/** What follows from what is known: at most one effect, and none while another is under way. */
const advance = (decision: Decision): Decision => {
  const { stage, said, heard, late } = decision;
  if (decision.due !== undefined) return decision;
  switch (stage) {
    case 'compare':
      if (said === 'no' || heard.includes('no')) return leave(decision, 'refused');
      if (said === 'yes') return { ...decision, dirty: true, due: { effect: 'store', to: 'pending' } };
      return late ? leave(decision, 'expired') : decision;
    case 'pending':
      if (heard.includes('no')) return leave(decision, 'refused');
      if (late) return leave(decision, 'expired');
      return heard.includes('yes') ? { ...decision, due: { effect: 'trust', to: 'trusted' } } : decision;
    case 'trusted':
      if (heard.includes('trusts')) return leave(decision, 'settled');
      return late ? { ...decision, due: { effect: 'untrust', to: 'expired' } } : decision;
    case 'settled':
    case 'refused':
    case 'expired':
      return decision;
  }
};

const hear = (decision: Decision, word: Word): Decision =>
  decision.heard.includes(word) ? decision : { ...decision, heard: [...decision.heard, word].sort() };

/** Only a person whose answer is open can answer: a yes can't be unsaid. */
const say = (decision: Decision, said: 'yes' | 'no'): Decision =>
  decision.stage === 'compare' && decision.said === undefined ? { ...decision, said } : decision;

/** An effect is on disk: its stage begins. What was late then has a time of its own. */
const finish = ({ due, ...decision }: Decision): Decision => {
  if (due === undefined) return decision;
  return { ...decision, stage: due.to, dirty: due.effect === 'store' || due.effect === 'trust', late: false };
};

/** An effect failed: it is tried again at the next event. A yes that could not be stored was never said. */
const fail = ({ due, said, ...decision }: Decision): Decision => {
  const kept = due?.effect === 'store' || said === undefined ? {} : { said };
  return { ...decision, ...kept };
};

/** The decision after an event. Total: what means nothing here changes nothing. */
export const step = (decision: Decision, event: DecisionEvent): Decision => {
  switch (event) {
    case 'yes':
    case 'no':
    case 'trusts':
      return advance(hear(decision, event));
    case 'contact':
      return decision.stage === 'trusted' ? advance(hear(decision, 'trusts')) : decision;
    case 'say-yes':
      return advance(say(decision, 'yes'));
    case 'say-no':
      return advance(say(decision, 'no'));
    case 'late':
      return advance(decision.late ? decision : { ...decision, late: true });
    case 'done':
      return advance(finish(decision));
    case 'failed':
      return fail(decision);
    case 'again':
      return advance(decision);
  }
};

/** What may leave this machine now. A yes leaves only once it is stored, a no once it holds, `trusts` once it is so. */
export const wordsToSend = ({ stage, said, due }: Decision): readonly Word[] => {
  if (due?.effect === 'untrust') return [];
  switch (stage) {
    case 'pending':
      return ['yes'];
    case 'trusted':
    case 'settled':
      return ['yes', 'trusts'];
    case 'refused':
      return said === 'no' ? ['no'] : [];
    case 'compare':
    case 'expired':
      return [];
  }
};
