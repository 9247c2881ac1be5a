/** The walk of a packet: the way it takes, node by node, and each step with what it read, decided and changed. */
import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { WalkNode, WalkStep, WalkView } from '../ui/protocol.ts';
import { FrameBytes, StepBytes } from './bytes.tsx';
import { stageText, t } from './texts.ts';

/** A step, by its node's and its own index; step -1 is the frame as received. */
interface At {
  readonly node: number;
  readonly step: number;
}

const PLAY_MS = 900;

export interface WalkProps {
  readonly walk: WalkView;
  /** The step to open first; the first of all by default. */
  readonly look?: { readonly node: string; readonly stage: string } | undefined;
}

export function Walk({ walk, look }: WalkProps): JSX.Element {
  const places = walk.nodes.flatMap(({ steps }, node) => [-1, ...steps.keys()].map((step): At => ({ node, step })));
  const index = useSignal(0);
  const playing = useSignal(false);
  const list = useRef<HTMLOListElement>(null);
  const moved = useRef(false);
  const at = places[Math.min(index.value, places.length - 1)];
  const go = (next: number) => {
    index.value = Math.max(0, Math.min(places.length - 1, next));
  };
  useEffect(() => {
    const wanted = places.findIndex(({ node, step }) => {
      const one = walk.nodes[node];
      return one?.node === look?.node && one?.steps[step]?.stage === look?.stage;
    });
    index.value = wanted >= 0 ? wanted : Math.max(0, endOfFailure(walk, places));
    playing.value = false;
  }, [walk]);
  useEffect(() => {
    const open = list.current?.querySelector<HTMLElement>('[aria-current="step"]');
    // Not when the page has just shown its first walk: the form above stays in view.
    if (moved.current || index.value > 0) reveal(open?.closest('li'));
    moved.current = true;
  }, [index.value, walk]);
  useEffect(() => {
    if (!playing.value) return undefined;
    const timer = setInterval(() => {
      if (index.value >= places.length - 1) playing.value = false;
      else index.value++;
    }, PLAY_MS);
    return () => clearInterval(timer);
  }, [playing.value, walk]);
  const onKeyDown = (event: KeyboardEvent) => {
    const move = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (move === undefined) return;
    event.preventDefault();
    go(index.value + move);
    requestAnimationFrame(() => list.current?.querySelector<HTMLElement>('[aria-current="step"]')?.focus());
  };
  return (
    <div class="walk">
      <div class="walk-head">
        <Way
          walk={walk}
          current={at?.node ?? 0}
          onPick={(node) => go(places.findIndex((place) => place.node === node))}
        />
        <div class="walk-tools">
          <button
            type="button"
            onClick={() => go(index.value - 1)}
            disabled={index.value === 0}
            aria-label={t('previous')}
          >
            ←
          </button>
          <button type="button" class="wide" onClick={() => (playing.value = !playing.value)}>
            {playing.value ? t('stop') : t('play')}
          </button>
          <button
            type="button"
            onClick={() => go(index.value + 1)}
            disabled={index.value >= places.length - 1}
            aria-label={t('next')}
          >
            →
          </button>
          <span class="muted">{t('step', index.value + 1, places.length)}</span>
        </div>
      </div>
      <Outcome walk={walk} />
      <ol class="walk-nodes" ref={list} onKeyDown={onKeyDown}>
        {walk.nodes.map((node, i) => (
          <li key={`${node.node} ${i}`} class={node.failed ? 'walk-node failed' : 'walk-node'}>
            <h4>
              <span class="arrow" aria-hidden="true">
                {node.reply ? '←' : '→'}
              </span>
              {node.node}
              {node.reply && <span class="tag">{t('reply')}</span>}
            </h4>
            <code class="packet-line">{node.packet}</code>
            <ol class="steps">
              <Received
                node={node}
                open={at?.node === i && at.step === -1}
                onOpen={() => go(places.findIndex((place) => place.node === i && place.step === -1))}
              />
              {node.steps.map((step, s) => (
                <Step
                  key={s}
                  step={step}
                  open={at?.node === i && at.step === s}
                  onOpen={() => go(places.findIndex((place) => place.node === i && place.step === s))}
                />
              ))}
            </ol>
            <Verdict node={node} />
          </li>
        ))}
      </ol>
      {walk.notes.map((text) => (
        <p key={text} class="hint">
          {t('note')}: {text}
        </p>
      ))}
    </div>
  );
}

/** A step that fills most of the window begins below the way; others are moved as little as possible. */
function reveal(step: HTMLElement | null | undefined): void {
  const isLarge = (step?.offsetHeight ?? 0) > innerHeight / 2;
  step?.scrollIntoView({ block: isLarge ? 'start' : 'nearest' });
}

/** The step that ended a packet which did not arrive; -1 if it did. */
function endOfFailure({ nodes }: WalkView, places: readonly At[]): number {
  const failed = nodes.findIndex((node) => node.failed);
  return places.findLastIndex(({ node }) => node === failed);
}

/** The stations of the way, as a strip. */
function Way({
  walk,
  current,
  onPick,
}: {
  readonly walk: WalkView;
  readonly current: number;
  readonly onPick: (node: number) => void;
}): JSX.Element {
  const node = (one: WalkNode, i: number) => (
    <button
      type="button"
      key={`node ${i}`}
      class={one.failed ? 'stop failed' : 'stop'}
      aria-pressed={i === current}
      onClick={() => onPick(i)}
    >
      <b>{one.node}</b>
      <small>{one.verdict}</small>
    </button>
  );
  const replies = walk.nodes.some(({ reply }) => reply);
  return (
    <div class="way">
      <div class="way-row">
        <Stop name={walk.from} />
        {walk.nodes.map((one, i) => (one.reply ? null : node(one, i)))}
        {walk.to === '' ? <span class="stop end lost">✕</span> : <Stop name={walk.to} />}
      </div>
      {(replies || walk.answered !== '') && (
        <div class="way-row back">
          {walk.answered !== '' && <Stop name={walk.answered} />}
          {walk.nodes.map((one, i) => (one.reply ? node(one, i) : null)).reverse()}
          {walk.to !== '' && <Stop name={walk.to} />}
        </div>
      )}
    </div>
  );
}

const Stop = ({ name }: { readonly name: string }): JSX.Element => (
  <span class="stop end" title={name}>
    <b>{name.replace(/^(pod|node) ([^/]*\/)?/, '')}</b>
  </span>
);

function Outcome({ walk }: { readonly walk: WalkView }): JSX.Element {
  const arrived = walk.to !== '';
  const back =
    walk.answered === ''
      ? arrived
        ? t('noReply')
        : ''
      : t(arrived ? 'replyArrives' : 'rejectionArrives', walk.answered);
  return (
    <p class={arrived ? 'outcome good' : 'outcome bad'} role="status">
      <b>{arrived ? t('reaches', walk.from, walk.to) : t('notDelivered', walk.from)}</b> {back}
    </p>
  );
}

interface OpenProps {
  readonly open: boolean;
  readonly onOpen: () => void;
}

function Received({ node, open, onOpen }: { readonly node: WalkNode } & OpenProps): JSX.Element {
  return (
    <li class={open ? 'step open' : 'step'}>
      <button type="button" aria-current={open ? 'step' : undefined} aria-expanded={open} onClick={onOpen}>
        <span class="stage">{t('received')}</span>
      </button>
      {open && node.frame !== '' && (
        <div class="step-body">
          <FrameBytes frame={node.frame} />
        </div>
      )}
    </li>
  );
}

function Step({ step, open, onOpen }: { readonly step: WalkStep } & OpenProps): JSX.Element {
  const meaning = stageText(step.stage);
  // What ended the packet is last.
  const brief = step.verdict === '' ? step.text[0] : step.text.at(-1);
  const rest = step.text.filter((text) => text !== brief);
  return (
    <li class={`step ${open ? 'open' : ''} ${step.after === '' ? '' : 'rewrites'}`}>
      <button type="button" aria-current={open ? 'step' : undefined} aria-expanded={open} onClick={onOpen}>
        <span class="stage">{step.stage}</span>
        <span class="brief">{brief ?? step.changes.map(({ field }) => field).join(', ')}</span>
      </button>
      {open && (
        <div class="step-body">
          {meaning !== '' && <p class="meaning">{meaning}</p>}
          {rest.length > 0 && (
            <ul class="row-text">
              {rest.map((text) => (
                <li key={text}>{text}</li>
              ))}
            </ul>
          )}
          <p class="where">
            {t('decidedIn')} <code>{step.source}</code>
            {step.table !== '' && (
              <>
                {' · '}
                {t('readTable')} <code>{step.table}</code>
              </>
            )}
          </p>
          {step.after === '' ? (
            <p class="hint">{t('unchangedBytes')}</p>
          ) : (
            <StepBytes before={step.before} after={step.after} />
          )}
        </div>
      )}
    </li>
  );
}

function Verdict({ node }: { readonly node: WalkNode }): JSX.Element {
  return (
    <div class={node.failed ? 'node-verdict bad' : 'node-verdict good'}>
      <b>{node.verdict}</b> <span>{node.sentence}</span>
      {node.wouldDiffer.length > 0 && (
        <div class="differ">
          <b>{t('otherOutcome')}</b>
          <ul>
            {node.wouldDiffer.map((text) => (
              <li key={text}>{text}</li>
            ))}
          </ul>
        </div>
      )}
    </div>
  );
}
