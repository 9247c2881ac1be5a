/** The form of a packet, and below it the packet's walk, or the reason why there is none. */
import type { Signal } from '@preact/signals';
import type { JSX } from 'preact';
import type { Topology, WalkRequest, WalkView } from '../ui/protocol.ts';
import { type PacketDraft, PacketForm } from './packet-form.tsx';
import { t } from './texts.ts';
import { Walk, type WalkProps } from './walk.tsx';

interface PacketPanelProps {
  readonly topology: Topology;
  readonly draft: Signal<PacketDraft>;
  readonly sends: boolean;
  readonly busy: boolean;
  readonly walk: WalkView | undefined;
  readonly look?: WalkProps['look'];
  /** Empty: none. */
  readonly problem: string;
  readonly onSend: (request: WalkRequest) => void;
}

export function PacketPanel({ walk, look, problem, ...form }: PacketPanelProps): JSX.Element {
  return (
    <>
      <PacketForm {...form} />
      {problem !== '' && (
        <p class="error" role="alert">
          {problem}
        </p>
      )}
      {walk === undefined ? problem === '' && <p class="hint">{t('newWalk')}</p> : <Walk walk={walk} look={look} />}
    </>
  );
}
