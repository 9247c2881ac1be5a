/** Edits a manifest, and shows which tracked connections it would change. */
import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import type { Topology, WhatIfAnswer } from '../ui/protocol.ts';
import { ask } from './live.ts';
import { t } from './texts.ts';

const START = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: deny-ingress
  namespace: default
spec:
  podSelector: {}
  policyTypes: [Ingress]
`;

export function WhatIf({ topology }: { readonly topology: Topology }): JSX.Element {
  const text = useSignal(START);
  const remove = useSignal(false);
  const answer = useSignal<WhatIfAnswer | undefined>(undefined);
  const error = useSignal('');
  const busy = useSignal(false);
  const attempt = async (work: () => Promise<void>) => {
    busy.value = true;
    error.value = '';
    try {
      await work();
    } catch (problem) {
      answer.value = undefined;
      error.value = (problem as Error).message;
    }
    busy.value = false;
  };
  const load = (id: string) =>
    attempt(async () => {
      const [kind = '', namespace = '', name = ''] = id.split('/');
      text.value = (await ask<{ text: string }>('manifest', { kind, namespace, name })).text;
      answer.value = undefined;
    });
  const judge = () =>
    attempt(async () => {
      answer.value = await ask<WhatIfAnswer>('what-if', { manifest: text.value, remove: remove.value });
    });
  return (
    <div class="what-if">
      <p class="hint">{t('whatIfHint')}</p>
      <label class="inline">
        <span>{t('loadHint')}</span>
        <select value="" onChange={(event) => load(event.currentTarget.value)}>
          <option value="">—</option>
          <Objects kind="NetworkPolicy" names={topology.policies} />
          <Objects kind="Service" names={topology.services.map(({ namespace, name }) => `${namespace}/${name}`)} />
          <Objects kind="Pod" names={topology.pods.map(({ namespace, name }) => `${namespace}/${name}`)} />
        </select>
      </label>
      <textarea
        class="editor"
        aria-label={t('manifest')}
        spellcheck={false}
        rows={16}
        value={text.value}
        onInput={(event) => {
          text.value = event.currentTarget.value;
        }}
      />
      <div class="what-if-tools">
        <label class="check">
          <input
            type="checkbox"
            checked={remove.value}
            onChange={(event) => {
              remove.value = event.currentTarget.checked;
            }}
          />
          {t('remove')}
        </label>
        <button type="button" class="primary" disabled={busy.value} onClick={judge}>
          {t('ask')}
        </button>
      </div>
      {error.value !== '' && (
        <p class="error" role="alert">
          {error.value}
        </p>
      )}
      {answer.value !== undefined && <Answer answer={answer.value} />}
    </div>
  );
}

function Objects({ kind, names }: { readonly kind: string; readonly names: readonly string[] }): JSX.Element | null {
  if (names.length === 0) return null;
  return (
    <optgroup label={kind}>
      {names.map((name) => (
        <option key={name} value={`${kind}/${name}`}>
          {name}
        </option>
      ))}
    </optgroup>
  );
}

function Answer({ answer: { checked, changes, objects } }: { readonly answer: WhatIfAnswer }): JSX.Element {
  return (
    <section class="answer" role="status">
      <p class="muted">{objects.join(', ')}</p>
      <p class={changes.length === 0 ? 'outcome good' : 'outcome bad'}>
        <b>{changes.length === 0 ? t('noChanges', checked) : t('changes', changes.length, checked)}</b>
      </p>
      <ul class="edges">
        {changes.map((change) => (
          <li key={JSON.stringify(change)} class={change.effect === 'allowed' ? 'edge' : 'edge losing'}>
            <div class="edge-ends">
              <b>{change.from}</b> → <b>{change.to}</b>{' '}
              <span class="muted">
                {change.protocol.toUpperCase()}
                {change.port > 0 && ` ${change.port}`}
              </span>
            </div>
            <div class="edge-numbers">
              <span class={change.effect === 'allowed' ? 'good' : 'bad'}>{t(change.effect)}</span>
              <span>{change.why}</span>
            </div>
          </li>
        ))}
      </ul>
    </section>
  );
}
