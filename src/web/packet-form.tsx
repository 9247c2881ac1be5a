/** Chooses a packet: its ends, protocol, port and flags. */
import type { Signal } from '@preact/signals';
import type { JSX } from 'preact';
import { type EndChoice, receivers, senders } from '../ui/ends.ts';
import type { Topology, WalkRequest } from '../ui/protocol.ts';
import { type TextKey, t } from './texts.ts';

/** The packet as it stands in the form. */
export interface PacketDraft {
  readonly from: string;
  readonly to: string;
  readonly protocol: string;
  readonly port: string;
  readonly flags: string;
  readonly srcPort: string;
}

export const EMPTY_PACKET: PacketDraft = {
  from: '',
  to: '',
  protocol: 'tcp',
  port: '80',
  flags: 'S',
  srcPort: '40000',
};

export function draftOf({ from, to, protocol, port, srcPort, flags }: WalkRequest): PacketDraft {
  return { from, to, protocol, port: String(port), flags: flags ?? 'S', srcPort: String(srcPort ?? 40_000) };
}

/** `to` is an address, or the value of a choice. */
function requestOf(draft: PacketDraft, topology: Topology): WalkRequest {
  const to = receivers(topology).find(({ value }) => value === draft.to)?.ip ?? draft.to;
  const { from, protocol, flags } = draft;
  return {
    from,
    to,
    protocol,
    port: protocol === 'icmp' ? 0 : Number(draft.port),
    ...(draft.srcPort !== '' && { srcPort: Number(draft.srcPort) }),
    ...(protocol === 'tcp' && { flags }),
  };
}

interface PacketFormProps {
  readonly topology: Topology;
  readonly draft: Signal<PacketDraft>;
  readonly sends: boolean;
  readonly busy: boolean;
  readonly onSend: (request: WalkRequest) => void;
}

export function PacketForm({ topology, draft, sends, busy, onSend }: PacketFormProps): JSX.Element {
  const now = draft.value;
  const set = (change: Partial<PacketDraft>) => {
    draft.value = { ...draft.value, ...change };
  };
  const from = senders(topology, t('outside'));
  const to = receivers(topology);
  const pickTo = (value: string) => {
    const choice = to.find((one) => one.value === value);
    set({
      to: value,
      ...(choice?.ports[0] !== undefined && { port: String(choice.ports[0]), protocol: choice.protocol }),
    });
  };
  const hasPorts = now.protocol !== 'icmp';
  return (
    <form
      class="packet-form"
      onSubmit={(event) => {
        event.preventDefault();
        onSend(requestOf(now, topology));
      }}
    >
      <Choices label={t('from')} choices={from} value={now.from} onPick={(value) => set({ from: value })} />
      <Choices label={t('to')} choices={to} value={now.to} onPick={pickTo} />
      <label class="narrow">
        <span>{t('protocol')}</span>
        <select value={now.protocol} onChange={(event) => set({ protocol: event.currentTarget.value })}>
          {['tcp', 'udp', 'icmp'].map((name) => (
            <option key={name} value={name}>
              {name.toUpperCase()}
            </option>
          ))}
        </select>
      </label>
      <label class="narrow">
        <span>{t('port')}</span>
        <input
          inputMode="numeric"
          pattern="\d{1,5}"
          required={hasPorts}
          disabled={!hasPorts}
          value={hasPorts ? now.port : ''}
          onInput={(event) => set({ port: event.currentTarget.value })}
        />
      </label>
      <label class="narrow">
        <span>{t('srcPort')}</span>
        <input
          inputMode="numeric"
          pattern="\d{1,5}"
          value={now.srcPort}
          onInput={(event) => set({ srcPort: event.currentTarget.value })}
        />
      </label>
      <label class="narrow">
        <span>{t('flags')}</span>
        <select
          value={now.flags}
          disabled={now.protocol !== 'tcp'}
          onChange={(event) => set({ flags: event.currentTarget.value })}
        >
          {Object.entries(FLAGS).map(([letters, name]) => (
            <option key={letters} value={letters}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <button type="submit" class="primary" disabled={busy || now.from === '' || now.to === ''}>
        {sends ? t('send') : t('trace')}
      </button>
      <p class="hint">{sends ? t('sendHint') : t('traceHint')}</p>
    </form>
  );
}

const FLAGS: Readonly<Record<string, string>> = { S: 'SYN', A: 'ACK', PA: 'PSH ACK', FA: 'FIN ACK', R: 'RST' };

const GROUPS: Readonly<Record<EndChoice['group'], TextKey | undefined>> = {
  services: undefined,
  pods: 'pods',
  nodes: 'node',
  outside: 'outside',
};

interface ChoicesProps {
  readonly label: string;
  readonly choices: readonly EndChoice[];
  readonly value: string;
  readonly onPick: (value: string) => void;
}

function Choices({ label, choices, value, onPick }: ChoicesProps): JSX.Element {
  const groups = [...new Set(choices.map(({ group }) => group))];
  const known = choices.some((choice) => choice.value === value) || value === '';
  return (
    <label>
      <span>{label}</span>
      <select value={value} onChange={(event) => onPick(event.currentTarget.value)} required>
        <option value="" disabled>
          —
        </option>
        {!known && <option value={value}>{value}</option>}
        {groups.map((group) => (
          <optgroup key={group} label={GROUPS[group] === undefined ? 'Services' : t(GROUPS[group])}>
            {choices
              .filter((choice) => choice.group === group)
              .map((choice) => (
                <option key={choice.value} value={choice.value}>
                  {choice.label}
                </option>
              ))}
          </optgroup>
        ))}
      </select>
    </label>
  );
}
